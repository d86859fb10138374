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

/* Whether the request goes on, with what its catalogue's operation came to. */
static bool is_in(struct rados_job *job, int rc)
{
    if (rc == -ETIMEDOUT && rados_job_may_retry(job))
        begin(job);
    else if (rc < 0)
        rados_job_end(job, rc);
    return rc == 0;
}

/*
 * Folders.
 */

static void folder_added(struct rados_op *op)
{
    struct rados_job *job = op->owner;
    int rc = op->result;

    rados_op_fini(op);
    if (!is_in(job, rc))
        return;
    job->registered = component_end(job->req->name, job->registered);
    folder_learn(job->rados, job->req->name, job->registered);
    begin(job);
}

static void add_folder(struct rados_job *job)
{
    const char *name = job->req->name, *key = job->key, *value = "";
    size_t parent = job->registered, end = component_end(name, parent);
    const char *component = name + parent + (parent > 0);
    size_t key_bytes = rados_key_format(
        'd', component, (size_t)(name + end - component), NULL, job->key);
    const size_t none = 0;

    rados_object_name('c', name, parent, job->catalog);
    if (!rados_job_begin(job, RADOS_RECORDS, job->catalog, false))
        return;
    job->rados->api->write_op_omap_set2(job->op.steps, &key, &value, &key_bytes,
                                        &none, 1);
    rados_op_submit(&job->op, folder_added);
}

/*
 * Keys. One of those who go together leads: it has the operation, and the lists
 * of those who go with it (`members`) and of those who came too late
 * (`waiting`).
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

static void keys_added(struct rados_op *op);

static void add_keys(struct rados_job *leader)
{
    const char *key[KEYS_MAX] = {leader->key}, *value[KEYS_MAX] = {""};
    size_t key_bytes[KEYS_MAX] = {strlen(leader->key)};
    size_t none[KEYS_MAX] = {0}, count = 1;

    LIST_FOR_EACH (node, &leader->members) {
        const struct rados_job *job =
            container_of(node, struct rados_job, link);

        key[count] = job->key;
        key_bytes[count] = strlen(job->key);
        value[count++] = "";
    }
    leader->rados->api->write_op_omap_set2(leader->op.steps, key, value,
                                           key_bytes, none, count);
    rados_op_submit(&leader->op, keys_added);
}

/* The first of these leads as many as may go with it. */
static void lead(struct list *jobs)
{
    struct rados_job *leader =
        container_of(list_pop(jobs), struct rados_job, link);
    struct rados_store *rados = leader->rados;
    struct list *node;

    list_init(&leader->members);
    list_init(&leader->waiting);
    for (size_t i = 1; i < KEYS_MAX && (node = list_pop(jobs)); i++)
        list_append(&leader->members, node);
    move_all(jobs, &leader->waiting);
    if (rados_op_begin(&leader->op, rados, RADOS_RECORDS, leader->catalog,
                       false) < 0) {
        move_all(&leader->waiting, jobs);
        move_all(&leader->members, jobs);
        list_append(jobs, &leader->link);
        while ((node = list_pop(jobs)))
            rados_job_end(container_of(node, struct rados_job, link), -ENOMEM);
        return;
    }
    leader->op.owner = leader;
    list_append(&rados->leaders, &leader->link);
    add_keys(leader);
}

static void keys_added(struct rados_op *op)
{
    struct rados_job *leader = op->owner;
    struct list went, waiting, *node;
    int rc = op->result;

    rados_op_fini(op);
    list_remove(&leader->link);
    list_init(&went);
    list_init(&waiting);
    list_append(&went, &leader->link);
    move_all(&leader->members, &went);
    move_all(&leader->waiting, &waiting);
    if (!list_is_empty(&waiting))
        lead(&waiting);
    while ((node = list_pop(&went))) {
        struct rados_job *job = container_of(node, struct rados_job, link);

        if (is_in(job, rc))
            job->resume(job);
    }
}

static void add_key(struct rados_job *job)
{
    const char *name = job->req->name, *component;
    size_t folder = rados_folder_of(name, &component);
    struct rados_job *leader;
    struct list alone;

    (void)rados_key_format(rados_kind_of(job), component, strlen(component),
                           &job->seal.nonce, job->key);
    rados_object_name('c', name, folder, job->catalog);
    leader = leader_of(job->rados, job->catalog);
    if (leader) {
        list_append(&leader->waiting, &job->link);
        return;
    }
    list_init(&alone);
    list_append(&alone, &job->link);
    lead(&alone);
}

/* The next folder of the name that is not known, then the name itself. */
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
        add_key(job);
}

void rados_register(struct rados_job *job, void (*done)(struct rados_job *job))
{
    job->resume = done;
    begin(job);
}
