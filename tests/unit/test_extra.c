/*
 * test_extra.c - layouts and typed values: encodings, checks, and the names of
 * reserved tensors.
 */
#include "formats/extra.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

static const struct layout dp_tp_pp = {
    .axis = {{"dp", 2}, {"tp", 4}, {"pp", 3}},
    .axis_count = 3,
};

static struct value text_value(const char *name, const char *text)
{
    return (struct value){
        .name = name,
        .name_bytes = (uint32_t)strlen(name),
        .type = VALUE_STRING,
        .data = text,
        .bytes = strlen(text),
    };
}

static void layouts_survive_and_print(void **state)
{
    struct layout got;
    struct wr w = {0};
    struct rd r;
    char text[64];

    (void)state;
    layout_encode(&dp_tp_pp, &w);
    r = rd_init(w.data, w.bytes);
    assert_int_equal(layout_decode(&r, &got), 0);
    assert_true(rd_done(&r));
    assert_true(layout_equal(&got, &dp_tp_pp));
    layout_text(&got, text, sizeof text);
    assert_string_equal(text, "dp=2,tp=4,pp=3");
    layout_text(&got, text, 8);
    assert_string_equal(text, "dp=2,tp");
    got.axis[1].degree = 5;
    assert_false(layout_equal(&got, &dp_tp_pp));
    got.axis_count = 0;
    layout_text(&got, text, sizeof text);
    assert_string_equal(text, "-");
    for (size_t bytes = 0; bytes < w.bytes; bytes++) {
        r = rd_init(w.data, bytes);
        assert_int_equal(layout_decode(&r, &got), -EBADMSG);
    }
    wr_free(&w);
}

static void senseless_layouts_are_refused(void **state)
{
    struct layout l = dp_tp_pp;
    struct err err;

    (void)state;
    l.axis[1].degree = 0;
    assert_int_equal(layout_check(&l, &err), -EINVAL);
    assert_non_null(strstr(err.text, "tp"));
    l = dp_tp_pp;
    memcpy(l.axis[2].name, "dp", 3);
    assert_int_equal(layout_check(&l, &err), -EINVAL);
    assert_non_null(strstr(err.text, "twice"));
    l = dp_tp_pp;
    memcpy(l.axis[0].name, "d/p", 4);
    assert_int_equal(layout_check(&l, &err), -EINVAL);
    memset(l.axis[0].name, 'x', AXIS_NAME_BYTES);
    assert_int_equal(layout_check(&l, &err), -EINVAL);
    l = dp_tp_pp;
    l.axis_count = MAX_AXES + 1;
    assert_int_equal(layout_check(&l, &err), -EINVAL);
}

static void axes_become_a_mask(void **state)
{
    uint32_t mask = 99;
    struct err err;

    (void)state;
    assert_int_equal(layout_mask(&dp_tp_pp, "", &mask, &err), 0);
    assert_int_equal(mask, 0);
    assert_int_equal(layout_mask(&dp_tp_pp, "pp,dp", &mask, &err), 0);
    assert_int_equal(mask, 5);
    assert_int_equal(layout_mask(&dp_tp_pp, "ep", &mask, &err), -EINVAL);
    assert_non_null(strstr(err.text, "ep"));
    assert_int_equal(layout_mask(&dp_tp_pp, "dp,dp", &mask, &err), -EINVAL);
    assert_int_equal(layout_mask(&dp_tp_pp, "dp,", &mask, &err), -EINVAL);
    assert_int_equal(layout_mask(&dp_tp_pp, ",dp", &mask, &err), -EINVAL);
}

static void values_survive(void **state)
{
    uint8_t number[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct value v[3] = {text_value("note", "hello"), text_value("empty", "")};
    struct values got;
    struct wr w = {0};
    struct err err;

    (void)state;
    v[1].axes = 5;
    v[1].coordinate[0] = 1;
    v[1].coordinate[2] = 2;
    v[2] = (struct value){"step", 4, VALUE_I64, 2, {0, 3}, number, 8};
    values_encode(v, 3, &w);
    assert_int_equal(values_decode(w.data, w.bytes, &dp_tp_pp, &got, &err), 0);
    assert_int_equal(got.count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(got.value[i].name, v[i].name);
        assert_int_equal(got.value[i].type, v[i].type);
        assert_int_equal(got.value[i].axes, v[i].axes);
        assert_memory_equal(got.value[i].coordinate, v[i].coordinate,
                            sizeof v[i].coordinate);
        assert_int_equal(got.value[i].bytes, v[i].bytes);
        assert_memory_equal(got.value[i].data, v[i].data, v[i].bytes);
    }
    values_free(&got);
    for (size_t bytes = 0; bytes < w.bytes; bytes++) {
        void *part = malloc(bytes ? bytes : 1);

        memcpy(part, w.data, bytes);
        assert_int_equal(values_decode(part, bytes, &dp_tp_pp, &got, &err),
                         -EBADMSG);
        free(part);
    }
    wr_free(&w);
    values_encode(NULL, 0, &w);
    assert_int_equal(values_decode(w.data, w.bytes, &dp_tp_pp, &got, &err), 0);
    assert_int_equal(got.count, 0);
    values_free(&got);
    wr_free(&w);
}

static void mutated_values_never_overrun(void **state)
{
    struct value v[2] = {text_value("note", "hello"), text_value("x", "y")};
    uint64_t random = 1;
    struct values got;
    struct wr w = {0};
    struct err err;

    (void)state;
    v[1].axes = 3;
    values_encode(v, 2, &w);
    for (int i = 0; i < 20000; i++) {
        uint8_t *copy = malloc(w.bytes);

        memcpy(copy, w.data, w.bytes);
        random = random * 6364136223846793005ULL + 1442695040888963407ULL;
        copy[(random >> 33) % w.bytes] = (uint8_t)(random >> 20);
        copy[(random >> 43) % w.bytes] ^= (uint8_t)(random >> 12);
        if (values_decode(copy, w.bytes, &dp_tp_pp, &got, &err) == 0)
            values_free(&got);
        free(copy);
    }
    wr_free(&w);
}

static void senseless_values_are_refused_by_name(void **state)
{
    struct value v = text_value("lr", "x");
    struct err err;

    (void)state;
    v.type = VALUE_F64;
    assert_int_equal(value_check(&dp_tp_pp, &v, &err), -EINVAL);
    assert_non_null(strstr(err.text, "lr"));
    v.type = 17;
    assert_int_equal(value_check(&dp_tp_pp, &v, &err), -EINVAL);
    v = text_value("lr", "x");
    v.axes = 8;
    assert_int_equal(value_check(&dp_tp_pp, &v, &err), -EINVAL);
    v.axes = 1;
    v.coordinate[0] = 2;
    assert_int_equal(value_check(&dp_tp_pp, &v, &err), -EINVAL);
    v.coordinate[0] = 1;
    assert_int_equal(value_check(&dp_tp_pp, &v, &err), 0);
    v.coordinate[1] = 1;
    assert_int_equal(value_check(&dp_tp_pp, &v, &err), -EINVAL);
    v = text_value("", "x");
    assert_int_equal(value_check(&dp_tp_pp, &v, &err), -EINVAL);
    v = text_value("a\nb", "x");
    assert_int_equal(value_check(&dp_tp_pp, &v, &err), -EINVAL);
    v = text_value("\001extra/x", "x");
    assert_int_equal(value_check(&dp_tp_pp, &v, &err), -EINVAL);
}

static void reserved_names_go_both_ways(void **state)
{
    struct value v = text_value("rng/state", ""), got;
    char name[RESERVED_NAME_BYTES];
    int n;

    (void)state;
    v.axes = 5;
    v.coordinate[0] = 1;
    v.coordinate[2] = 2;
    n = value_reserved_name(&dp_tp_pp, &v, name);
    assert_string_equal(name, "\001extra/dp,pp/1,2/rng/state");
    assert_int_equal(n, strlen(name));
    assert_int_equal(value_reserved_parse(&dp_tp_pp, name, (size_t)n, &got), 0);
    assert_int_equal(got.axes, 5);
    assert_memory_equal(got.coordinate, v.coordinate, sizeof v.coordinate);
    assert_int_equal(got.name_bytes, v.name_bytes);
    assert_memory_equal(got.name, v.name, v.name_bytes);
    v.axes = 0;
    memset(v.coordinate, 0, sizeof v.coordinate);
    n = value_reserved_name(&dp_tp_pp, &v, name);
    assert_string_equal(name, "\001extra///rng/state");
    assert_int_equal(value_reserved_parse(&dp_tp_pp, name, (size_t)n, &got), 0);
    assert_int_equal(got.axes, 0);
}

static void forged_reserved_names_are_refused(void **state)
{
    static const char *const names[] = {
        "weight",
        "\001extra/",
        "\001extra//",
        "\001extra///",
        "\001extra//0/x",
        "\001extra/dp/x",
        "\001extra/dp//x",
        "\001extra/dp/2/x",
        "\001extra/dp/01/x",
        "\001extra/dp/0,0/x",
        "\001extra/dp,/0/x",
        "\001extra/,dp/0/x",
        "\001extra/pp,dp/0,0/x",
        "\001extra/dp,dp/0,0/x",
        "\001extra/ep/0/x",
        "\001extra/dp/0/",
        "\001extra/dp/99999999999999999999/x",
        "\001extra/dp,pp/0/x",
    };
    struct value got;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (value_reserved_parse(&dp_tp_pp, names[i], strlen(names[i]), &got) !=
            -EINVAL)
            fail_msg("\"%s\" passed", names[i] + 1);
}

static void a_large_value_needs_room_for_its_reserved_name(void **state)
{
    struct value v = {.type = VALUE_BYTES, .bytes = VALUE_INLINE_MAX + 1};
    char name[VALUE_NAME_MAX + 1], reserved[RESERVED_NAME_BYTES];
    struct err err;

    (void)state;
    memset(name, 'n', sizeof name);
    v.name = name;
    v.name_bytes = VALUE_NAME_MAX;
    assert_int_equal(value_check(&dp_tp_pp, &v, &err), -EINVAL);
    v.bytes = VALUE_INLINE_MAX;
    assert_int_equal(value_check(&dp_tp_pp, &v, &err), 0);
    v.bytes++;
    v.name_bytes = VALUE_NAME_MAX - (uint32_t)strlen("\001extra///");
    assert_int_equal(value_check(&dp_tp_pp, &v, &err), 0);
    assert_int_equal(value_reserved_name(&dp_tp_pp, &v, reserved),
                     VALUE_NAME_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layouts_survive_and_print),
        cmocka_unit_test(senseless_layouts_are_refused),
        cmocka_unit_test(axes_become_a_mask),
        cmocka_unit_test(values_survive),
        cmocka_unit_test(mutated_values_never_overrun),
        cmocka_unit_test(senseless_values_are_refused_by_name),
        cmocka_unit_test(reserved_names_go_both_ways),
        cmocka_unit_test(forged_reserved_names_are_refused),
        cmocka_unit_test(a_large_value_needs_room_for_its_reserved_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
