/*
 * plant.h - common/plant.h for builds that count branches: a constant, so that
 * a safeguard that nothing may leave out is no branch.
 */
#ifndef COMMON_PLANT_H
#define COMMON_PLANT_H

#include <stdbool.h>

#define is_left_out(safeguard) ((void)(safeguard), false)

#endif
