"""What holds a child: system calls, Landlock, seccomp, its folder, its frames."""
