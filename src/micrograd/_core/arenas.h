/* Memory for slabs, straight from the system, so that what is given back leaves the process. On huge pages where the
   system has them: a walk through millions of nodes then rarely misses the TLB. arena_map() returns memory
   aligned to 64 KB at least, NULL when there is none; arena_unmap() gives it back. */

#ifndef MICROGRAD_ARENAS_H
#define MICROGRAD_ARENAS_H

#if defined(_WIN32) && !defined(MICROGRAD_PLAIN)
  #include <windows.h>
  static void *arena_map(size_t bytes) {  /* aligned to 64 KB, always */
      return VirtualAlloc(NULL, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
  }
  static void arena_unmap(void *p, size_t bytes) {
      (void)bytes;
      VirtualFree(p, 0, MEM_RELEASE);
  }
#elif (defined(__unix__) || defined(__APPLE__)) && !defined(MICROGRAD_PLAIN)
  #include <stdint.h>
  #include <sys/mman.h>
  #if !defined(MAP_ANONYMOUS)
    #define MAP_ANONYMOUS MAP_ANON
  #endif
  static void *arena_map(size_t bytes) {  /* aligned to its size: maps twice the size, and gives the rest back */
      char *p = (char *)mmap(NULL, 2 * bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      size_t before;
      if (p == (char *)MAP_FAILED)
          return NULL;
      before = (bytes - (uintptr_t)p % bytes) % bytes;
      if (before != 0)
          munmap(p, before);
      munmap(p + before + bytes, bytes - before);
  #if defined(MADV_HUGEPAGE)
      madvise(p + before, bytes, MADV_HUGEPAGE);
  #endif
      return p + before;
  }
  static void arena_unmap(void *p, size_t bytes) {
      munmap(p, bytes);
  }
#else
  #include <stdint.h>
  #include <stdlib.h>
  #define ALIGNMENT 65536  /* of a slab */
  static void *arena_map(size_t bytes) {  /* with the address that calloc gave in front */
      char *p = (char *)calloc(1, bytes + ALIGNMENT + sizeof(void *));
      char *aligned;
      if (p == NULL)
          return NULL;
      aligned = (char *)(((uintptr_t)p + sizeof(void *) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
      ((void **)aligned)[-1] = p;
      return aligned;
  }
  static void arena_unmap(void *p, size_t bytes) {
      (void)bytes;
      free(((void **)p)[-1]);
  }
#endif

#endif
