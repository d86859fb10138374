/*
 * scenes.h - scenes of whole daemons: stage.c sets them up; scenes_*.c play
 * them. See directed.h.
 */
#ifndef TESTS_CRASH_SCENES_H
#define TESTS_CRASH_SCENES_H

#include "ckptd/engine/home.h"
#include "tests/crash/directed.h"

/* A disk, and one life on it after another. */
struct stage {
    struct disk *disk;
    struct promises p;
    struct life life;
    uint64_t seed;
    uint32_t lives;
    char *why;
};

/* An empty disk and a first life, whose ranks have joined. */
void stage_begin(struct stage *s, uint64_t seed, const struct life_shape *shape,
                 char why[WHY_BYTES]);
/* The life ends in order, or by SIGKILL. Then another: false, in words, when
 * its ranks do not join. */
void stage_stop(struct stage *s);
void stage_kill(struct stage *s);
bool stage_next(struct stage *s);
/* All is freed; returns `ok`. */
bool stage_end(struct stage *s, bool ok);
bool stage_fails(struct stage *s, const char *format, ...) PRINTF_LIKE(2, 3);

/* Commits, or the test ends. */
struct promise *stage_commit(struct stage *s, uint64_t step, uint64_t seed);
/* Until retention has nothing more to do. */
void stage_retain(struct stage *s);
/* It loads bit for bit; else false, in words. */
bool stage_loads(struct stage *s, const struct promise *v);
/* A file by its path below /disk; DISK_NEVER if there is none. */
uint32_t stage_file(const struct stage *s, const char *path);
/* One bit of it is another. */
void stage_flip(struct stage *s, uint32_t file, uint64_t at);
/* The home's record FOLDER/SAVE. */
uint32_t stage_record(const struct stage *s, const char *folder,
                      const struct save_id *id);
/* Somebody creates FOLDER/SAVE; takes `w`. */
void stage_put(struct stage *s, const char *folder, const struct save_id *id,
               struct wr *w);
/* Somebody puts it on record that the first daemon's part of it is bad. */
void stage_note_damage(struct stage *s, const struct promise *v);
/* Somebody buries it, as `ckpt gc` does, and removes its records. */
void stage_bury(struct stage *s, const struct promise *v, bool with_records);
struct run *stage_run(const struct stage *s);

/* scenes_commit.c */
bool scene_closed(uint64_t seed, char why[WHY_BYTES]);
bool scene_unresolved(uint64_t seed, char why[WHY_BYTES]);
bool scene_decided(uint64_t seed, char why[WHY_BYTES]);
bool scene_hole(uint64_t seed, char why[WHY_BYTES]);
bool scene_voted(uint64_t seed, char why[WHY_BYTES]);
bool scene_removed_unseen(uint64_t seed, char why[WHY_BYTES]);
bool scene_removed_late(uint64_t seed, char why[WHY_BYTES]);
bool scene_lost(uint64_t seed, char why[WHY_BYTES]);
bool scene_other_incarnation(uint64_t seed, char why[WHY_BYTES]);

/* scenes_fence.c */
bool scene_two_daemons(uint64_t seed, char why[WHY_BYTES]);
bool scene_second_process(uint64_t seed, char why[WHY_BYTES]);
bool scene_old_token(uint64_t seed, char why[WHY_BYTES]);
bool scene_header_first(uint64_t seed, char why[WHY_BYTES]);
bool scene_bad_codec(uint64_t seed, char why[WHY_BYTES]);

/* scenes_rot.c */
bool scene_rot(uint64_t seed, char why[WHY_BYTES]);
bool scene_rot_packed(uint64_t seed, char why[WHY_BYTES]);
bool scene_memory(uint64_t seed, char why[WHY_BYTES]);
bool scene_record(uint64_t seed, char why[WHY_BYTES]);
bool scene_manifest(uint64_t seed, char why[WHY_BYTES]);
bool scene_one_bad_word(uint64_t seed, char why[WHY_BYTES]);

/* heal.c */
bool scene_failing_repair(uint64_t seed, char why[WHY_BYTES]);

/* scenes_retain.c */
bool scene_read_back(uint64_t seed, char why[WHY_BYTES]);
bool scene_unreadable(uint64_t seed, char why[WHY_BYTES]);
bool scene_held(uint64_t seed, char why[WHY_BYTES]);
bool scene_pin(uint64_t seed, char why[WHY_BYTES]);
bool scene_lease(uint64_t seed, char why[WHY_BYTES]);
bool scene_parent(uint64_t seed, char why[WHY_BYTES]);
bool scene_reading(uint64_t seed, char why[WHY_BYTES]);
bool scene_base(uint64_t seed, char why[WHY_BYTES]);
bool scene_slow_tomb(uint64_t seed, char why[WHY_BYTES]);
bool scene_buried(uint64_t seed, char why[WHY_BYTES]);
bool scene_buried_unseen(uint64_t seed, char why[WHY_BYTES]);
bool scene_damaged_newest(uint64_t seed, char why[WHY_BYTES]);
bool scene_damaged(uint64_t seed, char why[WHY_BYTES]);
bool scene_lost_one(uint64_t seed, char why[WHY_BYTES]);

#endif
