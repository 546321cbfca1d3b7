/* An upstream that costs next to nothing: OpenAI's chat completions, the same answer to all.
 *
 *   upstream PORT EVENTS PACE_US
 *
 * A request with "stream":true gets EVENTS chunks of text, a usage and [DONE]: at once in one
 * write, or, where PACE_US isn't 0, each in a write of its own, PACE_US apart. Every other
 * request gets a whole answer. One thread, epoll, TCP_NODELAY, HTTP/1.1 with keep-alive.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS 65536
#define HEAD 8192

typedef struct {
  char head[HEAD];   /* of the request that is coming, and the beginning of its body */
  size_t held;       /* bytes in it */
  size_t body_left;  /* bytes of the body that are still to come */
  int in_body, streams;
  int sent;          /* events of the stream under way; -1: there is none */
  unsigned life;     /* connections that had this descriptor before */
} Conn;
typedef struct { int fd; unsigned life; long long due; } Due;

static Conn *conns[CONNECTIONS];
static Due *queue;  /* in the order of their time, since all waits are equally long */
static size_t first, count, space = 1 << 17;
static int events;
static long long pace_us;
static char whole[1024], *burst, event_frame[512], end_frame[1024];
static size_t whole_len, burst_len, event_len, end_len;
static const char stream_head[] =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    "transfer-encoding: chunked\r\n\r\n";
#define CHUNK "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1730000000," \
              "\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,\"delta\":%s,\"logprobs\":null," \
              "\"finish_reason\":%s}]}"

static long long now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static size_t framed(char *to, size_t space_left, const char *data) {
  return snprintf(to, space_left, "%zx\r\n%s\r\n", strlen(data), data);
}

static void prepare(void) {
  const char *body =
      "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1730000000,"
      "\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
      "\"content\":\"The sky is blue because shorter wavelengths of light are scattered more.\"},"
      "\"logprobs\":null,\"finish_reason\":\"stop\"}],"
      "\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":18,\"total_tokens\":38}}";
  whole_len = snprintf(whole, sizeof whole,
                       "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                       "content-length: %zu\r\n\r\n%s", strlen(body), body);
  char data[1024];
  snprintf(data, sizeof data, "data: " CHUNK "\n\n", "{\"content\":\" word\"}", "null");
  event_len = framed(event_frame, sizeof event_frame, data);
  snprintf(data, sizeof data,
           "data: " CHUNK "\n\ndata: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\","
           "\"created\":1730000000,\"model\":\"gpt-4o-mini\",\"choices\":[],\"usage\":"
           "{\"prompt_tokens\":20,\"completion_tokens\":18,\"total_tokens\":38}}\n\n"
           "data: [DONE]\n\n", "{}", "\"stop\"");
  end_len = framed(end_frame, sizeof end_frame, data);
  memcpy(end_frame + end_len, "0\r\n\r\n", 5);
  end_len += 5;
  burst = malloc(sizeof stream_head + events * event_len + end_len);
  memcpy(burst, stream_head, burst_len = sizeof stream_head - 1);
  for (int i = 0; i < events; i++, burst_len += event_len)
    memcpy(burst + burst_len, event_frame, event_len);
  memcpy(burst + burst_len, end_frame, end_len);
  burst_len += end_len;
}

static void drop(int fd) {
  close(fd);
  Conn *conn = conns[fd];
  unsigned life = conn->life + 1;
  memset(conn, 0, sizeof *conn);
  conn->life = life;
  conn->sent = -1;
}

/* What doesn't fit into the socket's buffer would need a queue; its reader is too slow. */
static int put(int fd, const char *data, size_t length) {
  while (length) {
    ssize_t done = write(fd, data, length);
    if (done < 0 && (errno == EAGAIN || errno == EINTR)) { usleep(50); continue; }
    if (done <= 0) { drop(fd); return 0; }
    data += done;
    length -= done;
  }
  return 1;
}

static void later(int fd) {
  if (count == space) { fputs("too many streams\n", stderr); exit(1); }
  queue[(first + count++) % space] = (Due){fd, conns[fd]->life, now_us() + pace_us};
}

static void answer(int fd) {
  Conn *conn = conns[fd];
  if (!conn->streams) { put(fd, whole, whole_len); return; }
  if (!pace_us) { put(fd, burst, burst_len); return; }
  char both[1024];
  memcpy(both, stream_head, sizeof stream_head - 1);
  memcpy(both + sizeof stream_head - 1, event_frame, event_len);
  conn->sent = 1;
  if (put(fd, both, sizeof stream_head - 1 + event_len)) later(fd);
}

static void tick(void) {
  long long now = now_us();
  while (count && queue[first].due <= now) {
    Due due = queue[first];
    first = (first + 1) % space;
    count--;
    Conn *conn = conns[due.fd];
    if (conn->life != due.life || conn->sent < 0) continue;
    if (conn->sent >= events) {
      conn->sent = -1;
      put(due.fd, end_frame, end_len);
    } else if (put(due.fd, event_frame, event_len)) {
      conn->sent++;
      later(due.fd);
    }
  }
}

static int wants_stream(const char *data, size_t length) {
  return memmem(data, length, "\"stream\":true", 13) || memmem(data, length, "\"stream\": true", 14);
}

/* Only the first HEAD bytes of a request are kept; "stream" may come after them. */
static void take(int fd, char *data, size_t length) {
  Conn *conn = conns[fd];
  while (length) {
    if (conn->in_body) {
      size_t part = length < conn->body_left ? length : conn->body_left;
      conn->streams |= wants_stream(data, part);
      conn->body_left -= part;
      data += part;
      length -= part;
      if (conn->body_left) return;
      conn->in_body = conn->held = 0;
      unsigned life = conn->life;
      answer(fd);
      if (conn->life != life) return;
      continue;
    }
    size_t part = length < HEAD - 1 - conn->held ? length : HEAD - 1 - conn->held;
    memcpy(conn->head + conn->held, data, part);
    size_t before = conn->held;
    conn->held += part;
    conn->head[conn->held] = 0;
    char *end = strstr(conn->head, "\r\n\r\n");
    if (!end) {
      if (conn->held == HEAD - 1) { drop(fd); return; }
      return;
    }
    size_t head = end + 4 - conn->head;
    data += head - before;
    length -= head - before;
    *end = 0;
    char *said = strcasestr(conn->head, "\r\ncontent-length:");
    conn->body_left = said ? strtoull(said + 17, NULL, 10) : 0;
    conn->streams = 0;
    if (conn->body_left) { conn->in_body = 1; continue; }
    conn->held = 0;
    unsigned life = conn->life;
    answer(fd);
    if (conn->life != life) return;
  }
}

int main(int argc, char **argv) {
  if (argc != 4) { fputs("upstream PORT EVENTS PACE_US\n", stderr); return 2; }
  events = atoi(argv[2]);
  pace_us = atoll(argv[3]);
  queue = malloc(space * sizeof *queue);
  prepare();
  int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (bind(listener, (void *)&here, sizeof here) || listen(listener, 4096)) {
    perror("listen");
    return 1;
  }
  int poll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, found[256];
  epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
  static char data[1 << 18];
  for (;;) {
    int wait_ms = -1;
    if (count) {
      long long left = queue[first].due - now_us();
      wait_ms = left <= 0 ? 0 : (left + 999) / 1000;
    }
    int ready = epoll_wait(poll, found, 256, wait_ms);
    if (count) tick();
    for (int i = 0; i < ready; i++) {
      int fd = found[i].data.fd;
      if (fd == listener) {
        int made = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (made < 0) continue;
        if (made >= CONNECTIONS) { close(made); continue; }
        setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (!conns[made]) { conns[made] = calloc(1, sizeof(Conn)); conns[made]->sent = -1; }
        event = (struct epoll_event){.events = EPOLLIN, .data.fd = made};
        epoll_ctl(poll, EPOLL_CTL_ADD, made, &event);
        continue;
      }
      ssize_t got = read(fd, data, sizeof data);
      if (got > 0) take(fd, data, got);
      else if (got == 0 || errno != EAGAIN) drop(fd);
    }
  }
}
