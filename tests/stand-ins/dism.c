/* A DISM that only records how it was called, one line for each call in C:\dism\called. It ends with the code in
 * C:\dism\code if there is one, after the seconds in C:\dism\seconds; else as Windows does for a feature that needs a restart: with 3010 until
 * C:\dism\enabled exists, which the test makes of C:\dism\pending when it restarts the machine. */
#include <windows.h>
#include <stdio.h>
#include <stdlib.h>

int main(void) {
  FILE *file = fopen("C:\\dism\\called", "a");
  if (file) {
    fprintf(file, "%s\n", GetCommandLineA());
    fclose(file);
  }
  file = fopen("C:\\dism\\seconds", "r");
  if (file) {
    int seconds = 0;
    fscanf(file, "%d", &seconds);
    fclose(file);
    Sleep(seconds * 1000);
  }
  file = fopen("C:\\dism\\code", "r");
  if (file) {
    char text[32] = "";
    fgets(text, sizeof text, file);
    fclose(file);
    unsigned long code = strtoul(text, NULL, 0);
    printf("\nDeployment Image Servicing and Management tool\n\nError: %#lx\n\nThe reason in words.\n", code);
    return code;
  }
  if (GetFileAttributesA("C:\\dism\\enabled") != INVALID_FILE_ATTRIBUTES) {
    printf("\nThe operation completed successfully.\n");
    return 0;
  }
  file = fopen("C:\\dism\\pending", "w");
  if (file) fclose(file);
  printf("\nThe operation completed successfully.\nRestart Windows to complete this operation.\n");
  return 3010;
}
