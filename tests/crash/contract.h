/*
 * contract.h - scenes of the file store alone (contract.c). See directed.h.
 */
#ifndef TESTS_CRASH_CONTRACT_H
#define TESTS_CRASH_CONTRACT_H

#include "tests/crash/directed.h"

bool contract_names(uint64_t seed, char why[WHY_BYTES]);
bool contract_segments(uint64_t seed, char why[WHY_BYTES]);
bool contract_lost_answer(uint64_t seed, char why[WHY_BYTES]);
bool contract_lost_answer_nfs(uint64_t seed, char why[WHY_BYTES]);
bool contract_adopted(uint64_t seed, char why[WHY_BYTES]);
bool contract_removed(uint64_t seed, char why[WHY_BYTES]);
bool contract_failed_folder(uint64_t seed, char why[WHY_BYTES]);
bool contract_failed_sync(uint64_t seed, char why[WHY_BYTES]);

#endif
