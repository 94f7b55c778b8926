/* A look-alike of CNI's host-local for Windows: gives the second address of the subnet that it is asked for, refuses to give
 * it twice to the same container, and notes each call in C:\var\log\cni, with its request. */
#include <windows.h>
#include <stdio.h>
#include <stdlib.h>

#define GIVEN "C:\\var\\lib\\cni\\given"

int main(void) {
  char request[4096];
  request[fread(request, 1, sizeof request - 1, stdin)] = 0;
  const char *command = getenv("CNI_COMMAND"), *path = getenv("CNI_PATH");
  FILE *log = fopen("C:\\var\\log\\cni", "a");
  fprintf(log, "%s %s %s %s %s %s\n", command, getenv("CNI_CONTAINERID"), getenv("CNI_NETNS"), getenv("CNI_IFNAME"), path, request);
  fclose(log);
  if (!strcmp(command, "DEL")) {
    DeleteFileA(GIVEN);
    return 0;
  }
  const char *subnet = strstr(request, "\"subnet\":\"");
  unsigned parts[4], bits;
  if (!subnet || sscanf(subnet + 10, "%u.%u.%u.%u/%u", parts, parts + 1, parts + 2, parts + 3, &bits) != 5) {
    puts("{\"code\":999,\"msg\":\"invalid range set\"}");
    return 1;
  }
  if (GetFileAttributesA(GIVEN) != INVALID_FILE_ATTRIBUTES) {
    puts("{\"code\":999,\"msg\":\"dummy has been allocated, duplicate allocation is not allowed\"}");
    return 1;
  }
  CreateDirectoryA("C:\\var\\lib\\cni", NULL);
  fclose(fopen(GIVEN, "w"));
  printf("{\"cniVersion\":\"0.3.0\",\"ips\":[{\"version\":\"4\",\"address\":\"%u.%u.%u.%u/%u\"}],\"dns\":{}}\n", parts[0], parts[1],
         parts[2], parts[3] + 2, bits);
  return 0;
}
