# The tag of C++ exceptions. The compiler expects it from a library that it does not bring along.
.globl __cpp_exception
.tagtype __cpp_exception i32
__cpp_exception:
