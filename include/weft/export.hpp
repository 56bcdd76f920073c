// Marks what libweft.so exports; everything else in it is hidden.
#pragma once

#define WEFT_API __attribute__((visibility("default")))
