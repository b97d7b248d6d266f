# Parsers and normalizer against an independent reading (tests/captures_oracle.py): recordings where they are, and a corpus of our own.
add_executable(replay_captures ${CMAKE_CURRENT_SOURCE_DIR}/replay_captures.c)
target_link_libraries(replay_captures PRIVATE kmy_flags kmy_adapters PkgConfig::OPENSSL PkgConfig::ZLIB)
find_package(Python3 REQUIRED COMPONENTS Interpreter)
function(kmy_oracle_test name)
  add_test(NAME oracle_${name} COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/captures_oracle.py
           $<TARGET_FILE:replay_captures> ${ARGN})
  set_tests_properties(oracle_${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120 LABELS oracle)
endfunction()
foreach(source binance pyth)
  kmy_oracle_test(own_${source} ${source} ms ${CMAKE_CURRENT_SOURCE_DIR}/corpus/feeds/${source}.cf.txt)
  kmy_oracle_test(generated_${source} ${source} us --generated 20000)
  kmy_oracle_test(coinbase_as_${source} ${source} ms $KAMIYO_CAPTURES/coinbase/exchange_l2_ticker_matches_20210417.cf.txt.gz)
  foreach(kind trade ticker book1000)
    kmy_oracle_test(kraken_${kind}_as_${source} ${source} ms $KAMIYO_CAPTURES/kraken/v1_${kind}_20210417.cf.txt.gz)
  endforeach()
endforeach()
foreach(file spot_btcusdt_20240808.ns.jsonl spot_4sym_mixed_20211012.cf.txt binanceus_4sym_mixed_20211012.cf.txt
             usdm_futures_4sym_20210722.cf.txt coinm_stall_then_burst_20210722.cf.txt)
  kmy_oracle_test(${file} binance ms $KAMIYO_CAPTURES/binance/${file}.gz)
endforeach()
kmy_oracle_test(hermes_ws_reconstructed pyth ms $KAMIYO_CAPTURES/pyth/hermes_ws_reconstructed.jsonl)
kmy_oracle_test(edge_cases --edge $KAMIYO_CAPTURES/edge/edge_cases.jsonl)
kmy_oracle_test(pyth_ids --ids $KAMIYO_CAPTURES/pyth/feed_ids.json)

# The wire bench, small, so that it cannot rot; speed is not asserted.
add_test(NAME bench_wire_smoke COMMAND bench_wire --smoke)
set_tests_properties(bench_wire_smoke PROPERTIES TIMEOUT 60 LABELS bench)

# The ring under fire (made for the tsan preset, bounded by ticks), and its model: it must hold, and each rule left out must break it.
add_executable(stress_ring ${CMAKE_CURRENT_SOURCE_DIR}/stress_ring.c)
target_link_libraries(stress_ring PRIVATE kmy_flags kmy_ringbuf)
add_test(NAME stress_ring COMMAND stress_ring)
set_tests_properties(stress_ring PROPERTIES TIMEOUT 120 LABELS stress)
find_package(Python3 REQUIRED COMPONENTS Interpreter)
set(check_model ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/model/check.py ${CMAKE_CURRENT_SOURCE_DIR}/model/ring.pml)
add_test(NAME model_ring COMMAND ${check_model})
add_test(NAME model_ring_can_fail
         COMMAND ${check_model} DROP_F1 DROP_F2 DROP_F3 DROP_F5 DROP_W3 DROP_CHECK CHECK_NEWEST BIG_BATCH)
set_tests_properties(model_ring model_ring_can_fail PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120 LABELS model)
add_test(NAME bench_ring_smoke COMMAND bench_ring --smoke)
set_tests_properties(bench_ring_smoke PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 60 LABELS bench)
