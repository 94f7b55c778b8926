/* A look-alike of the library of Windows' host compute network service: networks are files C:\hcn\N.json with the settings
 * that they were made of. It refuses settings without "External", with a record of errors as Windows has it. */
#include <windows.h>
#include <objbase.h>
#include <stdio.h>

#define MOST 9

static void path(char *text, int number) { sprintf(text, "C:\\hcn\\%d.json", number); }

static WCHAR *owned(const char *text) {
  int length = MultiByteToWideChar(CP_UTF8, 0, text, -1, NULL, 0);
  WCHAR *copy = CoTaskMemAlloc(length * sizeof(WCHAR));
  MultiByteToWideChar(CP_UTF8, 0, text, -1, copy, length);
  return copy;
}

static int is_there(int number) {
  char file[MAX_PATH];
  path(file, number);
  return GetFileAttributesA(file) != INVALID_FILE_ATTRIBUTES;
}

__declspec(dllexport) HRESULT WINAPI HcnEnumerateNetworks(PCWSTR query, PWSTR *networks, PWSTR *record) {
  char list[1024] = "[";
  for (int number = 1; number <= MOST; number++)
    if (is_there(number))
      sprintf(list + strlen(list), "%s\"00000000-0000-0000-0000-00000000000%d\"", list[1] ? "," : "", number);
  strcat(list, "]");
  *networks = owned(list);
  return S_OK;
}

__declspec(dllexport) HRESULT WINAPI HcnOpenNetwork(const GUID *id, void **network, PWSTR *record) {
  int number = id->Data4[7];
  if (number < 1 || number > MOST || !is_there(number)) return E_INVALIDARG;
  *network = (void *)(INT_PTR)number;
  return S_OK;
}

__declspec(dllexport) HRESULT WINAPI HcnQueryNetworkProperties(void *network, PCWSTR query, PWSTR *properties, PWSTR *record) {
  char file[MAX_PATH], text[65536];
  path(file, (int)(INT_PTR)network);
  FILE *stream = fopen(file, "rb");
  if (!stream) return E_FAIL;
  text[fread(text, 1, sizeof text - 1, stream)] = 0;
  fclose(stream);
  *properties = owned(text);
  return S_OK;
}

__declspec(dllexport) HRESULT WINAPI HcnCreateNetwork(const GUID *id, PCWSTR settings, void **network, PWSTR *record) {
  char file[MAX_PATH], text[65536];
  WideCharToMultiByte(CP_UTF8, 0, settings, -1, text, sizeof text, NULL, NULL);
  CreateDirectoryA("C:\\hcn", NULL);
  if (!strstr(text, "\"External\"") || GetFileAttributesA("C:\\hcn\\broken") != INVALID_FILE_ATTRIBUTES) {
    *record = owned("{\"Success\":false,\"Error\":\"The parameter is incorrect. \",\"ErrorCode\":2147942487}");
    return E_INVALIDARG;
  }
  for (int number = 1; number <= MOST; number++) {
    if (is_there(number)) continue;
    path(file, number);
    FILE *stream = fopen(file, "wb");
    if (!stream) return E_FAIL;
    fputs(text, stream);
    fclose(stream);
    *network = (void *)(INT_PTR)number;
    return S_OK;
  }
  return E_FAIL;
}

__declspec(dllexport) HRESULT WINAPI HcnCloseNetwork(void *network) { return S_OK; }
