/*
 * save_handle.c - what a caller does with the handle of a save beside fencing
 * it: wait for a state, look at it, let it go. The handle outlives the context
 * (saves_orphan()); what is asked of NULL is told and never followed.
 */
#include "trainer/save.h"

#include <errno.h>
#include <string.h>

static const char *state_text(uint32_t state)
{
    static const char *const text[] = {"not yet STAGED", "STAGED", "LOCAL",
                                       "COMMITTED", "REMOTE"};

    return state < ARRAY_LEN(text) ? text[state] : "?";
}

/* Lock held. */
static int wait_result(const struct ckpt_save *save, uint32_t state,
                       int timeout_ms, struct err *err)
{
    if (save->state >= state)
        return 0;
    if (save->is_failed)
        return err_set(
            err, save->is_unknown ? save->error.code : -CKPT_EABORTED, "%s%s",
            save->is_unknown ? "" : "aborted: ", save->error.text);
    if (save->state == WIRE_STATE_COMMITTED) {
        (void)err_set(
            err, -ETIMEDOUT,
            "it is COMMITTED, not REMOTE, after %d ms; the daemons go "
            "on copying",
            timeout_ms);
        save_prefix(save, err);
        return err->code;
    }
    (void)err_set(err, -ETIMEDOUT,
                  "it is %s, not %s, after %d ms; %u of %u chunks of this rank "
                  "were handed over",
                  state_text(save->state), state_text(state), timeout_ms,
                  save->done, save->chunk_count);
    save_prefix(save, err);
    return err->code;
}

int ckpt_wait(struct ckpt_save *save, enum ckpt_state state, int timeout_ms,
              struct ckpt_error *error)
{
    uint64_t deadline =
        timeout_ms < 0 ? UINT64_MAX : clock_ms() + (uint64_t)timeout_ms;
    uint32_t wanted = (uint32_t)state;
    struct err err = {0};
    int rc;

    if (!save) {
        (void)err_set(&err, -EINVAL,
                      "ckpt_wait: the save is NULL: none was begun, or its "
                      "handle was let go");
        return give_error(error, &err);
    }
    if (wanted < CKPT_STAGED || wanted > CKPT_REMOTE)
        rc = err_set(&err, -EINVAL, "state %u is none", wanted);
    else
        rc = 0;
    if (rc)
        return give_error(error, &err);
    sync_lock(save->sync);
    if (wanted == CKPT_REMOTE)
        rc = save_wait_remote(save, deadline, &err);
    while (wanted < CKPT_REMOTE && save->state < wanted && !save->is_failed &&
           sync_wait(save->sync, deadline))
        continue;
    if (rc == 0)
        rc = wait_result(save, wanted, timeout_ms, &err);
    sync_unlock(save->sync);
    return rc ? give_error(error, &err) : 0;
}

void ckpt_save_status(struct ckpt_save *save, struct ckpt_save_status *status)
{
    if (!save) {
        *status = (struct ckpt_save_status){0};
        return;
    }
    sync_lock(save->sync);
    *status = (struct ckpt_save_status){
        .state = (enum ckpt_state)save->state,
        .aborted = save->is_failed && !save->is_unknown,
        .failed_count = save->sync->failed_count,
    };
    (void)give_error(&status->error, &save->error);
    sync_unlock(save->sync);
}

void ckpt_save_id(const struct ckpt_save *save, struct ckpt_id *id)
{
    *id = (struct ckpt_id){0};
    if (save)
        *id = (struct ckpt_id){save->id.generation, save->id.step,
                               save->id.attempt};
}

void ckpt_save_free(struct ckpt_save *save)
{
    struct sync *sync;

    if (!save)
        return;
    sync = save->sync;
    sync_lock(sync);
    sync->references++;
    save->is_let_go = true;
    save_put(save);
    sync_put(sync);
}

int ckpt_warning(struct ckpt *ctx, struct ckpt_error *warning)
{
    int count;

    sync_lock(ctx->sync);
    count = ctx->warning_count > 0;
    if (count) {
        (void)give_error(warning, &ctx->warning[0]);
        ctx->warning_count--;
        memmove(&ctx->warning[0], &ctx->warning[1],
                ctx->warning_count * sizeof ctx->warning[0]);
    }
    sync_unlock(ctx->sync);
    return count;
}
