/* reason: why a payment is refused, in the words of x402, so that stock clients and facilitators understand them.  Source: the x402
   specification; where it has no word, the code of the published packages (2.27.0).  payer_mismatch is ours: a stream takes
   only what its own account pays. */
#ifndef KMY_PAY_REASON_H
#define KMY_PAY_REASON_H

#define KMY_PAY_REASON_TABLE(X)                                                                    \
    X(NONE, "")                                                                                    \
    X(PAYLOAD, "invalid_payload")                                                                  \
    X(VERSION, "invalid_x402_version")                                                             \
    X(SCHEME, "unsupported_scheme")                                                                \
    X(NETWORK, "invalid_network")                                                                  \
    X(REQUIREMENTS, "invalid_payment_requirements")                                                \
    X(EVM_RECIPIENT, "invalid_exact_evm_payload_recipient_mismatch")                               \
    X(EVM_VALUE_V1, "invalid_exact_evm_payload_authorization_value")                               \
    X(EVM_VALUE, "invalid_exact_evm_payload_authorization_value_mismatch")                         \
    X(EVM_BEFORE, "invalid_exact_evm_payload_authorization_valid_before")                          \
    X(EVM_AFTER, "invalid_exact_evm_payload_authorization_valid_after")                            \
    X(EVM_SIGNATURE, "invalid_exact_evm_payload_signature")                                        \
    X(SVM_DECODE, "invalid_exact_svm_payload_transaction_could_not_be_decoded")                    \
    X(SVM_SIGNERS, "invalid_exact_svm_payload_excessive_signers")                                  \
    X(SVM_OTHER_FEE_PAYER, "invalid_exact_svm_fee_payer_mismatch")                                 \
    X(SVM_NO_FEE_PAYER, "invalid_exact_svm_payload_missing_fee_payer")                             \
    X(SVM_FEE_PAYER, "invalid_exact_svm_payload_transaction_fee_payer_transferring_funds")         \
    X(SVM_COUNT, "invalid_exact_svm_payload_transaction_instructions_length")                      \
    X(SVM_LIMIT, "invalid_exact_svm_payload_transaction_instructions_compute_limit_instruction")   \
    X(SVM_LIMIT_HIGH,                                                                              \
      "invalid_exact_svm_payload_transaction_instructions_compute_limit_instruction_too_high")     \
    X(SVM_PRICE, "invalid_exact_svm_payload_transaction_instructions_compute_price_instruction")   \
    X(SVM_PRICE_HIGH,                                                                              \
      "invalid_exact_svm_payload_transaction_instructions_compute_price_instruction_too_high")     \
    X(SVM_TRANSFER, "invalid_exact_svm_payload_no_transfer_instruction")                           \
    X(SVM_MINT, "invalid_exact_svm_payload_mint_mismatch")                                         \
    X(SVM_RECIPIENT, "invalid_exact_svm_payload_recipient_mismatch")                               \
    X(SVM_AMOUNT, "invalid_exact_svm_payload_amount_mismatch")                                     \
    X(SVM_UNKNOWN, "invalid_exact_svm_payload_unknown_optional_instruction")                       \
    X(SVM_MEMO_COUNT, "invalid_exact_svm_payload_memo_count")                                      \
    X(SVM_MEMO, "invalid_exact_svm_payload_memo_mismatch")                                         \
    X(SVM_SIGNATURE, "invalid_exact_svm_payload_signature_invalid")                                \
    X(PAYER_MISMATCH, "payer_mismatch")

typedef enum {
#define KMY_PAY_REASON_ENUM(name, code) KMY_PAY_##name,
    KMY_PAY_REASON_TABLE(KMY_PAY_REASON_ENUM)
#undef KMY_PAY_REASON_ENUM
        KMY_PAY_REASON_COUNT
} kmy_pay_reason_t;

const char *kmy_pay_reason(kmy_pay_reason_t reason); /* its code, static */

#endif
