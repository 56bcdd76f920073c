// The main function of every test executable: doctest's own, with its options and its summary.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
