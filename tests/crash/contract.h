/*
 * contract.h - scenes of the file store alone (contract*.c). See directed.h.
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
bool contract_failed_sync_reopened(uint64_t seed, char why[WHY_BYTES]);
bool contract_failed_name(uint64_t seed, char why[WHY_BYTES]);
bool contract_failed_for_all(uint64_t seed, char why[WHY_BYTES]);
bool contract_failed_removal(uint64_t seed, char why[WHY_BYTES]);
bool contract_failed_segment(uint64_t seed, char why[WHY_BYTES]);
bool contract_syncs_at_once(uint64_t seed, char why[WHY_BYTES]);
bool contract_second_name(uint64_t seed, char why[WHY_BYTES]);
bool contract_segment_owner(uint64_t seed, char why[WHY_BYTES]);
bool contract_owner(uint64_t seed, char why[WHY_BYTES]);
bool contract_closed_to_others(uint64_t seed, char why[WHY_BYTES]);

#endif
