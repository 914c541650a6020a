// For wheels: what a recent C++ runtime provides and an older one lacks is defined here, so that a
// wheel needs no runtime newer than that of GCC 5 and no C library newer than glibc 2.16.

#include <new>
#include <sstream>

#define QIFF_HIDDEN __attribute__((visibility("hidden")))

// Whether the process has a single thread (glibc 2.32). "No" is always safe.
extern "C" QIFF_HIDDEN char __libc_single_threaded;
char __libc_single_threaded = 0;

// std::__throw_bad_array_new_length, which containers call when asked for too many elements (GCC 11).
[[noreturn]] QIFF_HIDDEN void too_many_elements() asm("_ZSt28__throw_bad_array_new_lengthv");
void too_many_elements() { throw std::bad_array_new_length(); }

// The default constructor of a string stream (GCC 9).
template class std::basic_stringstream<char>;
