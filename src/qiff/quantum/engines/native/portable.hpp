// For wheels: included first in every file. Binds `std::condition_variable::wait` to the version that
// every C++ runtime since GCC 4.4 has, not to the one that GCC 12 added.

#pragma once

__asm__(
    ".symver _ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE,"
    "_ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE@GLIBCXX_3.4.11");
