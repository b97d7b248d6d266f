# bench_ring beside ck_ring (libck-dev) and rte_ring (libdpdk-dev).  DPDK's headers want -march=corei7, for the peer's file alone.
pkg_check_modules(CK IMPORTED_TARGET ck)
pkg_check_modules(DPDK IMPORTED_TARGET libdpdk)
if(CK_FOUND)
  target_sources(bench_ring PRIVATE ring_peer_ck.c)
  target_compile_definitions(bench_ring PRIVATE KMY_BENCH_CK)
  target_link_libraries(bench_ring PRIVATE PkgConfig::CK)
endif()
if(DPDK_FOUND)
  add_library(ring_peer_rte OBJECT ring_peer_rte.c)
  target_link_libraries(ring_peer_rte PRIVATE kmy_flags)
  target_compile_options(ring_peer_rte PRIVATE -Wno-error ${DPDK_CFLAGS_OTHER})
  target_include_directories(ring_peer_rte SYSTEM PRIVATE ${DPDK_INCLUDE_DIRS})
  target_compile_definitions(bench_ring PRIVATE KMY_BENCH_RTE)
  target_link_libraries(bench_ring PRIVATE $<TARGET_OBJECTS:ring_peer_rte> -Wl,--as-needed ${DPDK_LIBRARIES})
endif()

# bench_parse reads recordings (zlib) and stands beside simdjson (libsimdjson-dev).
target_link_libraries(bench_parse PRIVATE PkgConfig::ZLIB)
pkg_check_modules(SIMDJSON IMPORTED_TARGET simdjson)
if(SIMDJSON_FOUND)
  target_sources(bench_parse PRIVATE parse_peer_simdjson.cpp)
  target_compile_definitions(bench_parse PRIVATE KMY_PEER_SIMDJSON)
  target_link_libraries(bench_parse PRIVATE PkgConfig::SIMDJSON)
endif()
add_test(NAME bench_parse_smoke COMMAND bench_parse --smoke)
set_tests_properties(bench_parse_smoke PROPERTIES TIMEOUT 60 LABELS bench)

# bench_encode beside FlatBuffers' own builder (flatbuffers-compiler, libflatbuffers-dev).
find_program(KMY_FLATC flatc)
find_path(KMY_FLATBUFFERS_INCLUDE flatbuffers/flatbuffers.h)
if(KMY_FLATC AND KMY_FLATBUFFERS_INCLUDE)
  add_custom_command(OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/flatc/tick_generated.h
    COMMAND ${KMY_FLATC} --cpp --scoped-enums -o ${CMAKE_CURRENT_BINARY_DIR}/flatc ${CMAKE_SOURCE_DIR}/wire/tick.fbs
    DEPENDS ${CMAKE_SOURCE_DIR}/wire/tick.fbs)
  target_sources(bench_encode PRIVATE encode_peer.cpp ${CMAKE_CURRENT_BINARY_DIR}/flatc/tick_generated.h)
  target_include_directories(bench_encode SYSTEM PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/flatc)
  target_compile_definitions(bench_encode PRIVATE KMY_BENCH_FLATBUFFERS)
endif()
