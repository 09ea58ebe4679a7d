/* Prints the processor time of one Argon2id hash, in milliseconds: the least of some. For benches/hash.rs of argon2-wide.
 *   time MEMORY_KIB PASSES LANES */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <argon2.h>

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

int main(int count, char **words) {
  const char *password = "correct horse battery staple", *salt = "sixteen bytes...";
  unsigned char tag[32];
  double least = 1e9;
  int run;
  if (count != 4) return 2;
  for (run = 0; run < 4; run++) {
    double start = now(), took;
    int code = argon2id_hash_raw((uint32_t)atoi(words[2]), (uint32_t)atoi(words[1]), (uint32_t)atoi(words[3]), password,
                                 strlen(password), salt, strlen(salt), tag, sizeof tag);
    if (code != ARGON2_OK) return 1;
    took = now() - start;
    if (took < least) least = took;
  }
  printf("%.3f\n", least);
  return 0;
}
