/*
 * plant.h - in the place of common/plant.h, where a safeguard may be off
 * (tests/crash/planted.c).
 */
#ifndef COMMON_PLANT_H
#define COMMON_PLANT_H

#include <stdbool.h>

bool is_left_out(const char *safeguard);

#endif
