/* A service for Windows that only records how it was started: it writes its command line to C:\var\log\NAME\started, one
 * line for each start, and answers on /healthz at PORT. NAME is kubelet or kube-proxy. */
#include <winsock2.h>
#include <windows.h>
#include <stdio.h>

static SERVICE_STATUS_HANDLE reports;

static void report(DWORD state) {
  SERVICE_STATUS status = {SERVICE_WIN32_OWN_PROCESS, state, SERVICE_ACCEPT_STOP, NO_ERROR, 0, 0, 0};
  SetServiceStatus(reports, &status);
}

static DWORD WINAPI end(LPVOID context) {
  Sleep(200);
  report(SERVICE_STOPPED);
  ExitProcess(0);
}

static DWORD WINAPI control(DWORD wish, DWORD kind, LPVOID data, LPVOID context) {
  if (wish == SERVICE_CONTROL_STOP) {
    report(SERVICE_STOP_PENDING);
    CreateThread(NULL, 0, end, NULL, 0, NULL); /* the manager waits for this function to return */
  }
  return NO_ERROR;
}

static void WINAPI work(DWORD count, LPSTR *words) {
  static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
  struct sockaddr_in address = {0};
  char request[4096];
  WSADATA about;
  reports = RegisterServiceCtrlHandlerExA(NAME, control, NULL);
  WSAStartup(MAKEWORD(2, 2), &about);
  SOCKET listener = socket(AF_INET, SOCK_STREAM, 0);
  address.sin_family = AF_INET;
  address.sin_port = htons(PORT);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  bind(listener, (struct sockaddr *)&address, sizeof address);
  listen(listener, 8);
  report(SERVICE_RUNNING);
  /* Who reads this may stop the service at once, which one that does not run yet refuses. */
  FILE *log = fopen("C:\\var\\log\\" NAME "\\started", "a");
  if (log) {
    fprintf(log, "%s\n", GetCommandLineA());
    fclose(log);
  }
  for (;;) {
    SOCKET caller = accept(listener, NULL, NULL);
    recv(caller, request, sizeof request, 0);
    send(caller, answer, sizeof answer - 1, 0);
    shutdown(caller, SD_SEND);
    closesocket(caller);
  }
}

int main(void) {
  SERVICE_TABLE_ENTRYA table[] = {{NAME, work}, {NULL, NULL}};
  return StartServiceCtrlDispatcherA(table) ? 0 : 1;
}
