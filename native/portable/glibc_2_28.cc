// Part of prebuilt addons (OCTAVO_PORTABLE) only. What a newer glibc would bind to symbols that
// glibc 2.28 has not is bound to those that every glibc since then has: CMakeLists.txt reads the
// names in here and has the linker give undefined references to `name` as `__wrap_name` (--wrap).
// One that is missing here fails scripts/check-prebuilds.mjs by its name. What nobody refers to
// the linker leaves out.
#if defined(__linux__)
#include <sys/stat.h>
#endif

#if defined(__GLIBC__)  // which the headers say
#if defined(__x86_64__)
#define OCTAVO_FIRST "GLIBC_2.2.5"
#define OCTAVO_JUMP(name) "jmp " #name "@PLT"
#elif defined(__aarch64__)
#define OCTAVO_FIRST "GLIBC_2.17"
#define OCTAVO_JUMP(name) "b " #name
#endif

// A function that jumps to the first one of its name.
#define OCTAVO_PIN(name)                                                                        \
  __asm__(".section .text.pin_" #name ",\"ax\"\n.symver old_" #name ", " #name "@" OCTAVO_FIRST \
          "\n.globl __wrap_" #name "\n.hidden __wrap_" #name "\n.type __wrap_" #name            \
          ", %function\n__wrap_" #name ":\n" OCTAVO_JUMP(old_##name) "\n.text")

// Since 2.29 they set errno themselves, before that a wrapper did; the values are the same.
OCTAVO_PIN(exp);
OCTAVO_PIN(log);

// Moved to libc from libpthread, libdl and librt, from 2.32 on.
OCTAVO_PIN(pthread_create);
OCTAVO_PIN(pthread_join);
OCTAVO_PIN(pthread_detach);
OCTAVO_PIN(pthread_kill);
OCTAVO_PIN(pthread_sigmask);
OCTAVO_PIN(pthread_once);
OCTAVO_PIN(pthread_key_create);
OCTAVO_PIN(pthread_key_delete);
OCTAVO_PIN(pthread_getspecific);
OCTAVO_PIN(pthread_setspecific);
OCTAVO_PIN(pthread_mutex_trylock);
OCTAVO_PIN(pthread_mutexattr_init);
OCTAVO_PIN(pthread_mutexattr_destroy);
OCTAVO_PIN(pthread_mutexattr_settype);
OCTAVO_PIN(pthread_mutexattr_setpshared);
OCTAVO_PIN(pthread_condattr_setpshared);
OCTAVO_PIN(pthread_rwlock_init);
OCTAVO_PIN(pthread_rwlock_destroy);
OCTAVO_PIN(pthread_rwlock_rdlock);
OCTAVO_PIN(pthread_rwlock_tryrdlock);
OCTAVO_PIN(pthread_rwlock_timedrdlock);
OCTAVO_PIN(pthread_rwlock_wrlock);
OCTAVO_PIN(pthread_rwlock_trywrlock);
OCTAVO_PIN(pthread_rwlock_timedwrlock);
OCTAVO_PIN(pthread_rwlock_unlock);
OCTAVO_PIN(pthread_rwlockattr_init);
OCTAVO_PIN(pthread_rwlockattr_destroy);
OCTAVO_PIN(pthread_rwlockattr_setpshared);
OCTAVO_PIN(pthread_spin_init);
OCTAVO_PIN(pthread_spin_destroy);
OCTAVO_PIN(pthread_spin_lock);
OCTAVO_PIN(pthread_spin_trylock);
OCTAVO_PIN(pthread_spin_unlock);
OCTAVO_PIN(sem_init);
OCTAVO_PIN(sem_destroy);
OCTAVO_PIN(sem_post);
OCTAVO_PIN(sem_wait);
OCTAVO_PIN(sem_trywait);
OCTAVO_PIN(sem_timedwait);
OCTAVO_PIN(dlopen);
OCTAVO_PIN(dlclose);
OCTAVO_PIN(dlsym);
OCTAVO_PIN(dlvsym);
OCTAVO_PIN(dlerror);
OCTAVO_PIN(shm_open);
OCTAVO_PIN(shm_unlink);

extern "C" {
// Until 2.33 fstat() was a part of every program, and called this with the version of the struct.
int old_fxstat(int version, int file, struct stat* state);
__asm__(".symver old_fxstat, __fxstat@" OCTAVO_FIRST);
int __wrap_fstat(int file, struct stat* state) {
#if defined(__x86_64__)
  constexpr int kStructVersion = 1;
#else
  constexpr int kStructVersion = 0;
#endif
  return old_fxstat(kStructVersion, file, state);
}

// libstdc++ asks it whether it may do without atomic instructions: it may not.
__attribute__((visibility("hidden"))) char __libc_single_threaded = 0;
}  // extern "C"

#if defined(__x86_64__)  // The first one of this is younger.
#undef OCTAVO_FIRST
#define OCTAVO_FIRST "GLIBC_2.3.4"
#endif
OCTAVO_PIN(dlmopen);
#endif
