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

# kamiyo-sim: its pure parts as a unit test, the whole of it with an independent WebSocket client.
add_executable(test_sim ${CMAKE_CURRENT_SOURCE_DIR}/sim/test_shift.c ${CMAKE_SOURCE_DIR}/tools/sim/shift.c
               ${CMAKE_SOURCE_DIR}/tools/sim/mangle.c ${CMAKE_SOURCE_DIR}/tools/sim/market.c
               ${CMAKE_SOURCE_DIR}/tools/sim/trouble.c)
target_link_libraries(test_sim PRIVATE kmy_flags kmy_base PkgConfig::CMOCKA PkgConfig::JANSSON)
add_test(NAME sim COMMAND test_sim)
set_tests_properties(sim PROPERTIES TIMEOUT 60 LABELS unit)
find_package(Python3 REQUIRED COMPONENTS Interpreter)
find_program(KMY_SYSTEM_PYTHON python3 PATHS /usr/bin NO_DEFAULT_PATH) # the one that sees Debian's python3-* packages
if(NOT KMY_SYSTEM_PYTHON)
  set(KMY_SYSTEM_PYTHON ${Python3_EXECUTABLE})
endif()
add_test(NAME e2e_sim COMMAND ${KMY_SYSTEM_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/e2e_sim.py $<TARGET_FILE:kamiyo-sim>)
set_tests_properties(e2e_sim PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 240 LABELS e2e)

# Ticks on the wire and in the store, read by others: flatc's C++ and Python readers, Python's decimal, python3-lmdb.
add_executable(tick_dump ${CMAKE_CURRENT_SOURCE_DIR}/tick_dump.c)
target_link_libraries(tick_dump PRIVATE kmy_flags kmy_wire)
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME tick_decimal COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/tick_decimal.py $<TARGET_FILE:tick_dump>)
set_tests_properties(tick_decimal PROPERTIES TIMEOUT 120 LABELS oracle)
add_test(NAME bench_encode_smoke COMMAND bench_encode --smoke)
add_test(NAME bench_snapshot_smoke COMMAND bench_snapshot --smoke)
set_tests_properties(bench_encode_smoke bench_snapshot_smoke PROPERTIES TIMEOUT 60 LABELS bench)
find_program(KMY_FLATC flatc)
if(KMY_FLATC)
  set(KMY_FLATC_OUT ${CMAKE_BINARY_DIR}/flatc)
  add_custom_command(OUTPUT ${KMY_FLATC_OUT}/tick_generated.h ${KMY_FLATC_OUT}/kamiyo/Tick.py
    COMMAND ${KMY_FLATC} --cpp --scoped-enums --python -o ${KMY_FLATC_OUT} ${CMAKE_SOURCE_DIR}/wire/tick.fbs
    DEPENDS ${CMAKE_SOURCE_DIR}/wire/tick.fbs)
  add_custom_target(kmy_flatc DEPENDS ${KMY_FLATC_OUT}/tick_generated.h)
  add_executable(oracle_flat ${CMAKE_CURRENT_SOURCE_DIR}/oracle_flat.cpp)
  add_dependencies(oracle_flat kmy_flatc)
  target_include_directories(oracle_flat SYSTEM PRIVATE ${KMY_FLATC_OUT})
  target_link_libraries(oracle_flat PRIVATE kmy_flags kmy_wire)
  add_test(NAME oracle_flat COMMAND oracle_flat)
  set_tests_properties(oracle_flat PROPERTIES TIMEOUT 120 LABELS oracle)
  add_executable(snapshot_writer ${CMAKE_CURRENT_SOURCE_DIR}/snapshot_writer.c)
  add_dependencies(snapshot_writer kmy_flatc)
  target_link_libraries(snapshot_writer PRIVATE kmy_flags kmy_wire kmy_store)
  add_test(NAME snapshot_live COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/snapshot_live.py
           $<TARGET_FILE:snapshot_writer> ${KMY_FLATC_OUT})
  set_tests_properties(snapshot_live PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120 LABELS oracle)
endif()

# The tree's own rules, and the client against a stand-in of the daemon.  Debian's python3, because its modules are Debian's.
find_program(KMY_PYTHON python3 PATHS /usr/bin NO_DEFAULT_PATH)
add_test(NAME layers COMMAND ${KMY_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/test_layers.py)
add_test(NAME tidy COMMAND ${KMY_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/test_tidy.py)
add_test(NAME client COMMAND ${KMY_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/test_client.py $<TARGET_FILE:kamiyo>)
add_test(NAME e2e_client COMMAND ${KMY_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/e2e_client.py $<TARGET_FILE_DIR:kamiyo>)
add_test(NAME check COMMAND ${KMY_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/test_check.py $<TARGET_FILE:kamiyo>)
set_tests_properties(check PROPERTIES TIMEOUT 120 LABELS unit)
set_tests_properties(layers tidy PROPERTIES TIMEOUT 120 LABELS tree)
set_tests_properties(client e2e_client PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 180 LABELS e2e)

# Ledger and token benches, small, so that they cannot rot.
add_test(NAME bench_ledger_smoke COMMAND bench_ledger --smoke --dir ${CMAKE_CURRENT_BINARY_DIR})
add_test(NAME bench_token_smoke COMMAND bench_token --smoke --json)
set_tests_properties(bench_ledger_smoke bench_token_smoke PROPERTIES TIMEOUT 60 LABELS bench)
add_test(NAME bench_sim_smoke COMMAND bench_sim --smoke)
add_test(NAME bench_payment_smoke COMMAND bench_payment --smoke --json)
# Its shards, payers, facilitator and chain are the unit tests', so it lies here.
add_executable(bench_cashier ${CMAKE_CURRENT_SOURCE_DIR}/bench_cashier.c)
target_link_libraries(bench_cashier PRIVATE kmy_flags kmy_engine PkgConfig::CMOCKA PkgConfig::SECP256K1)
set_target_properties(bench_cashier PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
add_test(NAME bench_cashier_smoke COMMAND bench_cashier --smoke --json)
set_tests_properties(bench_payment_smoke bench_cashier_smoke PROPERTIES TIMEOUT 60 LABELS bench)
set_tests_properties(bench_sim_smoke PROPERTIES TIMEOUT 60 LABELS bench)

# The feeds thread against the simulator over TLS: every trouble an upstream can make.
add_executable(feeds_probe ${CMAKE_CURRENT_SOURCE_DIR}/feeds_probe.c)
target_link_libraries(feeds_probe PRIVATE kmy_flags kmy_engine)
if(TARGET kamiyo-sim)
  add_test(NAME e2e_feeds COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/e2e_feeds.py
           $<TARGET_FILE:feeds_probe> $<TARGET_FILE:kamiyo-sim>)
  set_tests_properties(e2e_feeds PROPERTIES TIMEOUT 300 LABELS e2e)
endif()

# The whole daemon's bench, small, so that it cannot rot.
add_test(NAME bench_daemon_smoke COMMAND /usr/bin/python3 ${CMAKE_SOURCE_DIR}/bench/daemon --smoke --build ${CMAKE_BINARY_DIR})
set_tests_properties(bench_daemon_smoke PROPERTIES TIMEOUT 120 LABELS bench)

# The documents: against the source, and their examples and runnable blocks against the running daemon.
add_test(NAME docs COMMAND ${KMY_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/test_docs.py)
set_tests_properties(docs PROPERTIES TIMEOUT 60 LABELS tree)
add_test(NAME examples COMMAND ${KMY_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/test_examples.py
         $<TARGET_FILE:kamiyod> $<TARGET_FILE:kamiyo-sim> $<TARGET_FILE:kamiyo>)
set_tests_properties(examples PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120 LABELS e2e)

# The whole daemon, as its customers and its operator see it, fed by kamiyo-sim (tests/harness.py).
foreach(name offers paid paid_routes inband stream sse resume http market life bad_input strict limits attack restart crash tls deflate receipts backup tokens allowances plans spec tiers usage)
  add_test(NAME e2e_${name} COMMAND ${KMY_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/e2e_${name}.py $<TARGET_FILE:kamiyod> $<TARGET_FILE:kamiyo-sim>
           $<TARGET_FILE:kamiyo>)
  set_tests_properties(e2e_${name} PROPERTIES TIMEOUT 240 LABELS e2e)
endforeach()
set_tests_properties(e2e_spec PROPERTIES SKIP_RETURN_CODE 77) # without python3-jsonschema

# kamiyo-load: what judges a load test, on its own; and the harness against a daemon of its own, in small.
add_executable(load_units ${CMAKE_CURRENT_SOURCE_DIR}/load_units.c ${CMAKE_SOURCE_DIR}/tools/load/hist.c
               ${CMAKE_SOURCE_DIR}/tools/load/scan.c ${CMAKE_SOURCE_DIR}/tools/load/scenario.c
               ${CMAKE_BINARY_DIR}/tools/load_shipped.c)
target_link_libraries(load_units PRIVATE kmy_flags kmy_wire kmy_base PkgConfig::YAML PkgConfig::CMOCKA m)
add_test(NAME load_units COMMAND load_units)
set_tests_properties(load_units PROPERTIES TIMEOUT 120 LABELS unit)
if(TARGET kamiyo-load AND TARGET kamiyod)
  add_test(NAME e2e_load COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/e2e_load.py $<TARGET_FILE_DIR:kamiyo-load>)
  set_tests_properties(e2e_load PROPERTIES TIMEOUT 240 LABELS e2e)
  add_test(NAME bench_fanout_smoke COMMAND /usr/bin/python3 ${CMAKE_SOURCE_DIR}/bench/fanout --bin $<TARGET_FILE_DIR:kamiyo-load> --smoke)
  add_test(NAME bench_fanout_saturated_smoke COMMAND /usr/bin/python3 ${CMAKE_SOURCE_DIR}/bench/fanout --bin $<TARGET_FILE_DIR:kamiyo-load> --smoke
           --saturated --peers kamiyo)
  set_tests_properties(bench_fanout_smoke bench_fanout_saturated_smoke PROPERTIES TIMEOUT 120 LABELS bench)
endif()
if(TARGET kamiyod AND TARGET kamiyo-sim)
  add_test(NAME bench_http_smoke COMMAND /usr/bin/python3 ${CMAKE_SOURCE_DIR}/bench/http --bin $<TARGET_FILE_DIR:kamiyod> --smoke)
  set_tests_properties(bench_http_smoke PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120 LABELS bench)
endif()
if(TARGET kamiyo-load AND TARGET kamiyod)
  add_test(NAME bench_slow_smoke COMMAND /usr/bin/python3 ${CMAKE_SOURCE_DIR}/bench/slow --bin $<TARGET_FILE_DIR:kamiyo-load> --smoke)
  add_test(NAME bench_sets_smoke COMMAND /usr/bin/python3 ${CMAKE_SOURCE_DIR}/bench/sets --bin $<TARGET_FILE_DIR:kamiyo-load> --smoke)
  set_tests_properties(bench_slow_smoke bench_sets_smoke PROPERTIES TIMEOUT 120 LABELS bench)
endif()

# Payments: the chain, the facilitator and the stock agents on their own (tests/x402, brought by tools/packages), before anything of ours is judged by them.
add_test(NAME x402_rig COMMAND ${KMY_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/x402_selftest.py)
set_tests_properties(x402_rig PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120 LABELS e2e)
if(TARGET kamiyod AND TARGET kamiyo-sim)
  add_test(NAME e2e_pay COMMAND ${KMY_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/e2e_pay.py $<TARGET_FILE:kamiyod> $<TARGET_FILE:kamiyo-sim> $<TARGET_FILE:kamiyo>)
  set_tests_properties(e2e_pay PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 240 LABELS e2e)
  add_test(NAME e2e_pay_attacks COMMAND ${KMY_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/e2e_pay_attacks.py $<TARGET_FILE:kamiyod> $<TARGET_FILE:kamiyo-sim> $<TARGET_FILE:kamiyo>)
  add_test(NAME e2e_settler COMMAND ${KMY_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/e2e_settler.py $<TARGET_FILE:kamiyod> $<TARGET_FILE:kamiyo-sim> $<TARGET_FILE:kamiyo>)
  set_tests_properties(e2e_settler PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120 LABELS e2e)
  add_test(NAME e2e_advance COMMAND ${KMY_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/e2e_advance.py $<TARGET_FILE:kamiyod> $<TARGET_FILE:kamiyo-sim> $<TARGET_FILE:kamiyo>)
  set_tests_properties(e2e_advance PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120 LABELS e2e)
  set_tests_properties(e2e_pay_attacks PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120 LABELS e2e)
endif()

# The ledger against a model of itself; all of it follows from a seed, which is printed where they disagree.
add_executable(sim_ledger ${CMAKE_CURRENT_SOURCE_DIR}/sim_ledger.c)
target_link_libraries(sim_ledger PRIVATE kmy_flags kmy_pay PkgConfig::CMOCKA)
add_test(NAME sim_ledger COMMAND sim_ledger)
set_tests_properties(sim_ledger PROPERTIES TIMEOUT 120 LABELS unit)

# Power cuts: what a ledger asks of the disk is recorded, and every disk that a cut may leave is judged.
add_library(power_cut_shim MODULE ${CMAKE_CURRENT_SOURCE_DIR}/power_cut_shim.c)
target_compile_options(power_cut_shim PRIVATE -D_GNU_SOURCE -Wall -Wextra -Werror) # without sanitizers: it is loaded before them
add_executable(power_cut_ledger ${CMAKE_CURRENT_SOURCE_DIR}/power_cut_ledger.c)
target_link_libraries(power_cut_ledger PRIVATE kmy_flags kmy_pay PkgConfig::CMOCKA PkgConfig::LMDB)
add_test(NAME power_cut COMMAND ${KMY_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/power_cut.py $<TARGET_FILE:power_cut_ledger>
         $<TARGET_FILE:power_cut_shim>)
set_tests_properties(power_cut PROPERTIES TIMEOUT 120 LABELS unit)

# A disk that fails under the daemon.
add_library(disk_fault_shim MODULE ${CMAKE_CURRENT_SOURCE_DIR}/disk_fault_shim.c)
target_compile_options(disk_fault_shim PRIVATE -D_GNU_SOURCE -Wall -Wextra -Werror) # without sanitizers: it is loaded before them
add_test(NAME e2e_disk COMMAND ${KMY_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/e2e_disk.py $<TARGET_FILE:kamiyod> $<TARGET_FILE:kamiyo-sim>
         $<TARGET_FILE:kamiyo> $<TARGET_FILE:disk_fault_shim>)
set_tests_properties(e2e_disk PROPERTIES TIMEOUT 120 LABELS e2e)
