/*
 * show.c - `ckpt show`: what a checkpoint holds.
 */
#include "tools/ckpt/marks.h"
#include "tools/ckpt/out.h"
#include "tools/ckpt/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is on record of it, by enum check_tier. */
struct damage {
    char in[2][1024];
};

static json_t *blob_text(const struct manifest *m, uint64_t at, uint64_t bytes)
{
    json_t *text = json_stringn(m->blob + at, bytes);

    return text ? text : json_string("?"); /* not UTF-8 */
}

/* A value in words; strings and bytes are cut. */
static void value_words(const struct manifest *m, const struct mf_value *v,
                        char *text, size_t capacity)
{
    const char *data = m->blob + v->data;
    uint64_t bits = v->type <= VALUE_F64 ? get_u64(data) : 0;
    double f;

    memcpy(&f, &bits, sizeof f);
    if (v->type == VALUE_I64)
        (void)snprintf(text, capacity, "%" PRId64, (int64_t)bits);
    else if (v->type == VALUE_U64)
        (void)snprintf(text, capacity, "%" PRIu64, bits);
    else if (v->type == VALUE_F64)
        (void)snprintf(text, capacity, "%.17g", f);
    else if (v->type == VALUE_STRING)
        (void)snprintf(text, capacity, "\"%.*s\"%s", (int)min_u64(v->bytes, 60),
                       data, v->bytes > 60 ? "..." : "");
    else
        (void)snprintf(text, capacity, "%" PRIu64 " bytes", v->bytes);
}

static void print_values(const struct manifest *m)
{
    char axes[256], words[256];

    for (uint64_t i = 0; i < m->value_count; i++) {
        const struct mf_value *v = &m->value[i];

        coordinates_text(&m->layout, v->axes, v->coordinate, axes, sizeof axes);
        value_words(m, v, words, sizeof words);
        out_words("  %.*s (%s) = %s", (int)v->name_bytes, m->blob + v->name,
                  axes, words);
        (void)putchar('\n');
    }
}

static json_t *values_json(const struct manifest *m)
{
    json_t *list = json_array();
    char axes[256], words[256];

    for (uint64_t i = 0; i < m->value_count; i++) {
        const struct mf_value *v = &m->value[i];

        coordinates_text(&m->layout, v->axes, v->coordinate, axes, sizeof axes);
        value_words(m, v, words, sizeof words);
        json_array_append_new(
            list, json_pack("{s:o, s:s, s:o}", "name",
                            blob_text(m, v->name, v->name_bytes), "at", axes,
                            "value", json_words(words)));
    }
    return list;
}

static json_t *tensor_json(const struct manifest *m, const struct mf_tensor *t)
{
    json_t *shape = json_array();

    for (uint32_t i = 0; i < t->ndim; i++)
        json_array_append_new(shape, json_integer((json_int_t)t->shape[i]));
    return json_pack("{s:o, s:s, s:o, s:I, s:I}", "name",
                     blob_text(m, t->name, t->name_bytes), "dtype",
                     dtype_name(t->dtype), "shape", shape, "bytes",
                     (json_int_t)t->logical_bytes, "regions",
                     (json_int_t)t->region_count);
}

static int show_json(struct tool *t, const struct target *target,
                     const struct manifest *m, const struct damage *damage)
{
    char layout[256], created[32], domain[1200];
    json_t *tensors = json_array(), *notes = json_object(), *all;

    layout_text(&m->layout, layout, sizeof layout);
    for (uint64_t i = 0; i < m->tensor_count; i++)
        if (!(m->tensor[i].flags & 1))
            json_array_append_new(tensors, tensor_json(m, &m->tensor[i]));
    for (uint64_t i = 0; i < m->note_count; i++) {
        char key[64];

        (void)snprintf(key, sizeof key, "%.*s",
                       (int)min_u64(m->note[i].key_bytes, 63),
                       m->blob + m->note[i].key);
        json_object_set_new(
            notes, key, blob_text(m, m->note[i].text, m->note[i].text_bytes));
    }
    all = json_pack(
        "{s:i, s:s, s:I, s:i, s:i, s:I, s:i, s:s, s:i, s:I, s:I, s:I, s:s, "
        "s:o, s:o, s:o, s:o, s:o, s:s, s:o}",
        "schema", 1, "run", target->run, "step", (json_int_t)m->info.id.step,
        "generation", (int)m->info.id.generation, "attempt",
        (int)m->info.id.attempt, "parent_step", (json_int_t)m->info.parent.step,
        "parent_generation", (int)m->info.parent.generation, "layout", layout,
        "ranks", (int)m->info.world_size, "logical_bytes",
        (json_int_t)m->info.logical_bytes, "stored_bytes",
        (json_int_t)m->info.stored_bytes, "written_bytes",
        (json_int_t)m->info.written_bytes, "created",
        time_text(m->info.created_unix_ms, created), "tensors", tensors,
        "values", values_json(m), "notes", notes, "damaged",
        json_words(damage->in[CHECK_NVME]), "damaged_remote",
        json_words(damage->in[CHECK_REMOTE]), "state",
        state_text(&target->save), "failure_domain",
        json_words(domain_text(t, &target->save, domain, sizeof domain)));
    return json_line(all) ? EXIT_FINE : complain(t, EXIT_ERROR, "cannot print");
}

static void print_head(const struct tool *t, const struct target *target,
                       const struct manifest *m, const struct damage *damage)
{
    char layout[256], text[32], domain[1200];

    layout_text(&m->layout, layout, sizeof layout);
    (void)printf("%s@%" PRIu64 "  generation %u, attempt %u\n", target->run,
                 m->info.id.step, m->info.id.generation, m->info.id.attempt);
    out_words("state    %s: %s", state_text(&target->save),
              domain_text(t, &target->save, domain, sizeof domain));
    (void)putchar('\n');
    if (m->info.parent.generation)
        (void)printf("parent   step %" PRIu64 " of generation %u\n",
                     m->info.parent.step, m->info.parent.generation);
    (void)printf("layout   %s on %u ranks\n", layout, m->info.world_size);
    (void)printf("logical  %s\n", size_text(m->info.logical_bytes, text));
    (void)printf("stored   %s", size_text(m->info.stored_bytes, text));
    (void)printf(", of which written by this save %s\n",
                 size_text(m->info.written_bytes, text));
    (void)printf("created  %s\n", time_text(m->info.created_unix_ms, text));
    for (int i = CHECK_NVME; i <= CHECK_REMOTE; i++) {
        if (!damage->in[i][0])
            continue;
        out_words("damaged  %s%s", i == CHECK_REMOTE ? "remote: " : "",
                  damage->in[i]);
        (void)putchar('\n');
    }
    for (uint64_t i = 0; i < m->note_count; i++) {
        out_words("%.*s: %.*s", (int)m->note[i].key_bytes,
                  m->blob + m->note[i].key, (int)m->note[i].text_bytes,
                  m->blob + m->note[i].text);
        (void)putchar('\n');
    }
    if (m->value_count)
        (void)puts("extra state");
    print_values(m);
}

static int print_tensors(struct tool *t, const struct manifest *m)
{
    static const char *const headings[] = {"TENSOR", "DTYPE", "SHAPE", "BYTES",
                                           "REGIONS"};
    struct out_table table = {.heading = headings,
                              .column_count = ARRAY_LEN(headings),
                              .is_right = {[3] = true, [4] = true}};
    char text[256];

    for (uint64_t i = 0; i < m->tensor_count; i++) {
        const struct mf_tensor *x = &m->tensor[i];

        if (x->flags & 1)
            continue;
        table_cell(&table, "%.*s", (int)x->name_bytes, m->blob + x->name);
        table_cell(&table, "%s", dtype_name(x->dtype));
        table_cell(&table, "%s",
                   shape_text(x->ndim, x->shape, text, sizeof text));
        table_cell(&table, "%s", size_text(x->logical_bytes, text));
        table_cell(&table, "%" PRIu64, x->region_count);
    }
    return table_end(&table) ? complain(t, EXIT_ERROR, "out of memory")
                             : EXIT_FINE;
}

static void print_box(const struct manifest *m, const struct mf_tensor *x,
                      const struct mf_region *r, uint32_t box)
{
    const uint64_t *offset = m->dim + r->first_dim + 2ULL * x->ndim * box;

    for (uint32_t d = 0; d < x->ndim; d++)
        (void)printf("%s%" PRIu64 ":%" PRIu64, d ? ", " : "[", offset[d],
                     offset[d] + offset[x->ndim + d]);
    (void)fputs(x->ndim ? "]" : "[]", stdout);
}

/* One tensor: who holds what of it. */
static int print_regions(const struct manifest *m, uint64_t tensor)
{
    const struct mf_tensor *x = &m->tensor[tensor];
    char shape[256];

    out_words("%.*s  %s %s", (int)x->name_bytes, m->blob + x->name,
              dtype_name(x->dtype),
              shape_text(x->ndim, x->shape, shape, sizeof shape));
    (void)putchar('\n');
    for (uint64_t i = 0; i < x->region_count; i++) {
        const struct mf_region *r = &m->region[x->first_region + i];

        (void)printf("  rank %u: ", r->rank);
        for (uint32_t b = 0; b < r->box_count; b++) {
            (void)fputs(b ? " + " : "", stdout);
            print_box(m, x, r, b);
        }
        if (r->box_count == 0)
            (void)fputs("all", stdout);
        if (r->is_cut)
            (void)printf(" cut %" PRIu64 ":%" PRIu64, r->cut_start,
                         r->cut_start + r->cut_count);
        if (r->replica_count > 1)
            (void)printf(", replica %u of %u", r->replica_index,
                         r->replica_count);
        (void)printf(", wrote %" PRIu64 " of %" PRIu64 " bytes\n",
                     r->slice_bytes, r->packed_bytes);
    }
    return EXIT_FINE;
}

static int show(struct tool *t, const struct target *target,
                const struct manifest *m)
{
    struct damage damage = {0};
    uint64_t tensor;

    for (int i = CHECK_NVME; i <= CHECK_REMOTE; i++)
        marks_damage_words(t->home, (enum check_tier)i, target->run,
                           &m->info.id, damage.in[i], sizeof damage.in[i]);
    if (t->options.json)
        return show_json(t, target, m, &damage);
    if (target->tensor) {
        int code = tool_tensor(t, m, target->tensor, &tensor);

        return code ? code : print_regions(m, tensor);
    }
    print_head(t, target, m, &damage);
    return print_tensors(t, m);
}

int verb_show(struct tool *t)
{
    struct target target;
    struct manifest m;
    void *data;
    int code = tool_target(t, &target, &data, &m);

    if (code == 0)
        code = show(t, &target, &m);
    free(data);
    return code;
}
