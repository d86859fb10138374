/*
 * text_train_lm.c - see text.h.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/text.h"
#include "trainer/examples/train_lm/options.h"

#define WORLD 4

void train_lm_arguments(int argc, char **argv)
{
    char error[OPTIONS_ERROR_BYTES] = "";
    struct options o;

    if (options_parse(argc, argv, &o, error) || options_check(&o, WORLD, error))
        fuzz_check(error[0]);
    else
        fuzz_check(o.help || o.dp * o.tp * o.pp == WORLD);
}
