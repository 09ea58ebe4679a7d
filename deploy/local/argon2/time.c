/* Prints the processor time of one Argon2id hash, in milliseconds: the least of some. For benches/hash.rs of argon2-wide.
 * As there, the memory is kept from hash to hash, and is not wiped.
 *   time MEMORY_KIB PASSES LANES */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <argon2.h>
#include <core.h>

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static int take(uint8_t **memory, size_t bytes) {
  static uint8_t *kept = NULL;
  if (kept == NULL) kept = malloc(bytes);
  *memory = kept;
  return kept == NULL;
}

static void leave(uint8_t *memory, size_t bytes) {
  (void)memory;
  (void)bytes;
}

int main(int count, char **words) {
  char password[] = "correct horse battery staple", salt[] = "sixteen bytes...";
  unsigned char tag[32];
  argon2_context context = {0};
  double least = 1e9;
  int run;
  if (count != 4) return 2;
  FLAG_clear_internal_memory = 0;
  context.out = tag;
  context.outlen = sizeof tag;
  context.pwd = (uint8_t *)password;
  context.pwdlen = (uint32_t)strlen(password);
  context.salt = (uint8_t *)salt;
  context.saltlen = (uint32_t)strlen(salt);
  context.m_cost = (uint32_t)atoi(words[1]);
  context.t_cost = (uint32_t)atoi(words[2]);
  context.lanes = context.threads = (uint32_t)atoi(words[3]);
  context.version = ARGON2_VERSION_13;
  context.allocate_cbk = take;
  context.free_cbk = leave;
  for (run = 0; run < 4; run++) {
    double start = now(), took;
    if (argon2_ctx(&context, Argon2_id) != ARGON2_OK) return 1;
    took = now() - start;
    if (took < least) least = took;
  }
  printf("%.3f\n", least);
  return 0;
}
