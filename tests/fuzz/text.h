/*
 * text.h - what fuzz_text.c calls of programs: main() of ckptd and ckpt,
 * compiled under other names (part.mk), and train_lm's flags, whose struct
 * options is not ckpt's.
 */
#ifndef TESTS_FUZZ_TEXT_H
#define TESTS_FUZZ_TEXT_H

int ckptd_main(int argc, char **argv);
int ckpt_main(int argc, char **argv);
void train_lm_arguments(int argc, char **argv);

#endif
