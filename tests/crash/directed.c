/*
 * directed.c - see directed.h.
 */
#include "tests/crash/directed.h"

#include "tests/crash/contract.h"
#include "tests/crash/scenes.h"

#include <stdio.h>
#include <string.h>

const struct scene scenes[] = {
    {"names", contract_names},
    {"lost-answer", contract_lost_answer},
    {"lost-answer-nfs", contract_lost_answer_nfs},
    {"segments", contract_segments},
    {"adopted", contract_adopted},
    {"removed", contract_removed},
    {"failed-sync", contract_failed_sync},
    {"failed-sync-reopened", contract_failed_sync_reopened},
    {"failed-folder", contract_failed_folder},
    {"failed-name", contract_failed_name},
    {"failed-for-all", contract_failed_for_all},
    {"failed-removal", contract_failed_removal},
    {"failed-segment", contract_failed_segment},
    {"syncs-at-once", contract_syncs_at_once},
    {"second-name", contract_second_name},
    {"segment-owner", contract_segment_owner},
    {"owner", contract_owner},
    {"closed-to-others", contract_closed_to_others},
    {"closed", scene_closed},
    {"unresolved", scene_unresolved},
    {"decided", scene_decided},
    {"hole", scene_hole},
    {"voted", scene_voted},
    {"removed-unseen", scene_removed_unseen},
    {"removed-late", scene_removed_late},
    {"lost", scene_lost},
    {"other-incarnation", scene_other_incarnation},
    {"two-daemons", scene_two_daemons},
    {"second-process", scene_second_process},
    {"old-token", scene_old_token},
    {"header-first", scene_header_first},
    {"bad-codec", scene_bad_codec},
    {"rot", scene_rot},
    {"rot-packed", scene_rot_packed},
    {"memory", scene_memory},
    {"record", scene_record},
    {"manifest", scene_manifest},
    {"one-bad-word", scene_one_bad_word},
    {"read-back", scene_read_back},
    {"unreadable", scene_unreadable},
    {"held", scene_held},
    {"pin", scene_pin},
    {"lease", scene_lease},
    {"parent", scene_parent},
    {"reading", scene_reading},
    {"base", scene_base},
    {"slow-tomb", scene_slow_tomb},
    {"failing-repair", scene_failing_repair},
    {"buried", scene_buried},
    {"buried-unseen", scene_buried_unseen},
    {"damaged-newest", scene_damaged_newest},
    {"damaged", scene_damaged},
    {"lost-one", scene_lost_one},
};

const uint32_t scene_count = ARRAY_LEN(scenes);

const struct scene *scene_by_name(const char *name)
{
    for (uint32_t i = 0; i < scene_count; i++)
        if (strcmp(scenes[i].name, name) == 0)
            return &scenes[i];
    return NULL;
}
