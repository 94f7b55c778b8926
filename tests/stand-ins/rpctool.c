/* VMware Tools' rpctool.exe over a folder in place of a host: C:\guestinfo has a file for each key. C:\guestinfo\mode makes it
 * a bad one: `fails` ends with 1 and says nothing of a value, `long` prints more than any document has, `endless` never stops
 * printing, `hangs` never ends. */
#include <windows.h>
#include <stdio.h>
#include <string.h>

static void misbehave(const char *mode) {
  if (!strncmp(mode, "fails", 5)) {
    fprintf(stderr, "Failed sending message to VMware.\n");
    exit(1);
  }
  if (!strncmp(mode, "long", 4)) {
    for (int line = 0; line < 40000; line++) printf("# no document has as many of these lines\n");
    exit(0);
  }
  if (!strncmp(mode, "endless", 7))
    for (;;) printf("# more\n");
  if (!strncmp(mode, "hangs", 5)) Sleep(INFINITE);
}

int main(int count, char **words) {
  char path[MAX_PATH], text[4096], *value;
  FILE *file = fopen("C:\\guestinfo\\mode", "r");
  if (file) {
    if (fgets(text, sizeof text, file)) misbehave(text);
    fclose(file);
  }
  if (count < 2) return 1;
  if (!strncmp(words[1], "info-set guestinfo.", 19) && (value = strchr(words[1] + 19, ' '))) {
    *value++ = 0;
    snprintf(path, sizeof path, "C:\\guestinfo\\%s", words[1] + 19);
    file = fopen(path, "w");
    fprintf(file, "%s", value);
    fclose(file);
    printf("\n");
    return 0;
  }
  snprintf(path, sizeof path, "C:\\guestinfo\\%s", words[1] + strlen("info-get guestinfo."));
  file = fopen(path, "r");
  if (!file) {
    fprintf(stderr, "No value found\n");
    return 1;
  }
  for (size_t length; (length = fread(text, 1, sizeof text, file));) fwrite(text, 1, length, stdout);
  printf("\n");
  return 0;
}
