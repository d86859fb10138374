/*
 * store_rados_catalog.c - names into catalogues.
 *
 * Before an object is created each folder of its name is put into its parent's
 * catalogue (those that are not known to be there), and a key of this request
 * into the folder's. Whoever comes while keys of a folder are on their way
 * waits, and then all who wait go in one operation: a catalogue is one object,
 * on which operations follow one another, and each costs the cluster as much as
 * a small write.
 */
#include "storage/store_rados.h"

#include "common/hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* In one operation. */
#define KEYS_MAX 64

char rados_kind_of(const struct rados_job *job)
{
    return job->pool == RADOS_BLOBS ? 'b' : 'r';
}

/*
 * Folders that are known to be in their parents' catalogues.
 */

static char **folder_slot(struct rados_store *rados, const char *name,
                          size_t bytes)
{
    return &rados->folder[hash_64(name, bytes) % RADOS_FOLDERS];
}

static bool folder_is_known(struct rados_store *rados, const char *name,
                            size_t bytes)
{
    const char *known = *folder_slot(rados, name, bytes);

    return known && strlen(known) == bytes && memcmp(known, name, bytes) == 0;
}

/* Not remembering one costs an operation the next time. */
static void folder_learn(struct rados_store *rados, const char *name,
                         size_t bytes)
{
    char **slot = folder_slot(rados, name, bytes);

    free(*slot);
    *slot = malloc(bytes + 1);
    if (!*slot)
        return;
    memcpy(*slot, name, bytes);
    (*slot)[bytes] = '\0';
}

static void begin(struct rados_job *job);

/* Where the component of a name ends that follows its first `at` bytes. */
static size_t component_end(const char *name, size_t at)
{
    return at + 1 + strcspn(name + at + 1, "/");
}

/*
 * Keys. One of those who go together leads: it has the operation, and the lists
 * of those who go with it (`members`) and of those who came too late
 * (`waiting`). The first to come leads, and goes in the next poll: who comes
 * until then goes with it.
 */

static void move_all(struct list *from, struct list *to)
{
    struct list *node;

    while ((node = list_pop(from)))
        list_append(to, node);
}

static struct rados_job *leader_of(struct rados_store *rados,
                                   const char *catalog)
{
    LIST_FOR_EACH (node, &rados->leaders) {
        struct rados_job *leader = container_of(node, struct rados_job, link);

        if (strcmp(leader->catalog, catalog) == 0)
            return leader;
    }
    return NULL;
}

static void lead(struct rados_job *job)
{
    list_init(&job->members);
    list_init(&job->waiting);
    list_append(&job->rados->leaders, &job->link);
    rados_op_wake(job->rados);
}

static void keys_added(struct rados_op *op);

static void add_keys(struct rados_job *leader)
{
    const char *key[KEYS_MAX] = {leader->key}, *value[KEYS_MAX] = {""};
    size_t key_bytes[KEYS_MAX] = {strlen(leader->key)};
    size_t none[KEYS_MAX] = {0}, count = 1;
    struct list *node;

    while (count < KEYS_MAX && (node = list_pop(&leader->waiting))) {
        const struct rados_job *job =
            container_of(node, struct rados_job, link);

        list_append(&leader->members, node);
        key[count] = job->key;
        key_bytes[count] = strlen(job->key);
        value[count++] = "";
    }
    leader->rados->api->write_op_omap_set2(leader->op.steps, key, value,
                                           key_bytes, none, count);
    rados_op_submit(&leader->op, keys_added);
}

/* Its key is in the catalogue, or is not. */
static void key_added(struct rados_job *job, int rc)
{
    const char *name = job->req->name, *component;

    if (rc == -ETIMEDOUT && rados_job_may_retry(job)) {
        begin(job);
    } else if (rc < 0) {
        rados_job_end(job, rc);
    } else if (job->registered < rados_folder_of(name, &component)) {
        job->registered = component_end(name, job->registered);
        folder_learn(job->rados, name, job->registered);
        begin(job);
    } else {
        job->resume(job);
    }
}

/* All who came with this one go on, or end, by what its operation came to.
 * Who came too late goes next. */
static void leave(struct rados_job *leader, int rc)
{
    struct list went, *node;

    list_remove(&leader->link);
    list_init(&went);
    list_append(&went, &leader->link);
    move_all(&leader->members, &went);
    node = list_pop(&leader->waiting);
    if (node) {
        struct rados_job *next = container_of(node, struct rados_job, link);

        lead(next);
        move_all(&leader->waiting, &next->waiting);
    }
    while ((node = list_pop(&went)))
        key_added(container_of(node, struct rados_job, link), rc);
}

static void keys_added(struct rados_op *op)
{
    struct rados_job *leader = op->owner;
    int rc = op->result;

    rados_op_fini(op);
    leave(leader, rc);
}

static struct rados_job *leader_to_go(struct rados_store *rados)
{
    LIST_FOR_EACH (node, &rados->leaders) {
        struct rados_job *leader = container_of(node, struct rados_job, link);

        if (!leader->op.rados)
            return leader;
    }
    return NULL;
}

void rados_catalog_go(struct rados_store *rados)
{
    struct rados_job *leader;

    while ((leader = leader_to_go(rados))) {
        int rc = rados_op_begin(&leader->op, rados, RADOS_RECORDS,
                                leader->catalog, false);

        leader->op.owner = leader;
        if (rc == 0)
            add_keys(leader);
        else
            leave(leader, rc);
    }
}

static void add_key(struct rados_job *job)
{
    struct rados_job *leader = leader_of(job->rados, job->catalog);

    if (leader)
        list_append(&leader->waiting, &job->link);
    else
        lead(job);
}

/*
 * A name: the next of its folders that is not known, then itself.
 */

static void add_folder(struct rados_job *job)
{
    const char *name = job->req->name;
    size_t parent = job->registered, end = component_end(name, parent);
    const char *component = name + parent + (parent > 0);

    (void)rados_key_format('d', component, (size_t)(name + end - component),
                           NULL, job->key);
    rados_object_name('c', name, parent, job->catalog);
    add_key(job);
}

static void add_name(struct rados_job *job)
{
    const char *name = job->req->name, *component;
    size_t folder = rados_folder_of(name, &component);

    (void)rados_key_format(rados_kind_of(job), component, strlen(component),
                           &job->seal.nonce, job->key);
    rados_object_name('c', name, folder, job->catalog);
    add_key(job);
}

static void begin(struct rados_job *job)
{
    const char *name = job->req->name, *component;
    size_t folder = rados_folder_of(name, &component);

    while (
        job->registered < folder &&
        folder_is_known(job->rados, name, component_end(name, job->registered)))
        job->registered = component_end(name, job->registered);
    if (job->registered < folder)
        add_folder(job);
    else
        add_name(job);
}

void rados_register(struct rados_job *job, void (*done)(struct rados_job *job))
{
    job->resume = done;
    begin(job);
}
