/* Calls over kept connections in a closed loop, and what became of them, as JSON.
 *
 *   load PORT CONNECTIONS SECONDS REQUEST_FILE RAMP_SECONDS
 *
 * The connections begin one after the other within RAMP_SECONDS, and go on for SECONDS from then.
 * REQUEST_FILE is one or more whole requests, head and body with its length, one after the
 * other; the calls of all connections take them in turn. A reply is whole when its length or last chunk
 * says so and its status is 200; a streamed one, besides, when its last event is [DONE]. A
 * connection begins no call after SECONDS, and what is under way is waited for.
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

#define SLOTS 200000 /* of 10 us; the last one: longer */
#define LINE 64

typedef struct { long long counts[SLOTS], total, max; double sum; } Histogram;
enum { HEAD, LENGTH, CHUNK_SIZE, CHUNK, CHUNK_END };
typedef struct {
  int fd, state, status, streams, done, closes;
  size_t left, out;
  char head[8192], line[LINE];
  size_t held, in_line, sized;
  long long began, last;
  const struct request *request;
} Conn;
struct request { const char *data; size_t length; };

static Histogram latency, to_first, gaps;
static long long calls, errors, streams, intact, all_events, end_us;
static struct request *requests;
static size_t many, turn;
static int poll_fd, port, live;

static long long now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void add(Histogram *to, long long us) {
  size_t slot = us / 10;
  to->counts[slot < SLOTS ? slot : SLOTS - 1]++;
  to->total++;
  to->sum += us;
  if (us > to->max) to->max = us;
}

static long long at(const Histogram *of, double share) {
  long long seen = 0, wanted = (long long)(share * of->total);
  for (size_t slot = 0; slot < SLOTS; slot++)
    if ((seen += of->counts[slot]) > wanted) return slot * 10;
  return of->max;
}

static void tell(const char *name, const Histogram *of) {
  printf(",\"%s\":{\"p50_us\":%lld,\"p90_us\":%lld,\"p99_us\":%lld,\"max_us\":%lld,\"mean_us\":%.1f}",
         name, at(of, .5), at(of, .9), at(of, .99), of->max, of->total ? of->sum / of->total : 0);
}

static void watch(Conn *conn, int writes) {
  struct epoll_event event = {.events = EPOLLIN | (writes ? EPOLLOUT : 0), .data.ptr = conn};
  epoll_ctl(poll_fd, EPOLL_CTL_MOD, conn->fd, &event);
}

static void shut(Conn *conn) {
  close(conn->fd);
  conn->fd = -1;
  live--;
}

static void flush(Conn *conn) {
  const struct request *whole = conn->request;
  while (conn->out < whole->length) {
    ssize_t done = write(conn->fd, whole->data + conn->out, whole->length - conn->out);
    if (done < 0 && errno == EAGAIN) { watch(conn, 1); return; }
    if (done <= 0) return; /* reading tells */
    conn->out += done;
  }
  watch(conn, 0);
}

static void dial(Conn *conn) {
  conn->fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (connect(conn->fd, (void *)&there, sizeof there)) { perror("connect"); exit(1); }
  int on = 1;
  setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
  epoll_ctl(poll_fd, EPOLL_CTL_ADD, conn->fd, &event);
}

static void begin(Conn *conn) {
  conn->state = HEAD;
  conn->held = conn->in_line = conn->out = conn->done = conn->streams = 0;
  conn->request = &requests[turn++ % many];
  conn->began = now_us();
  conn->last = 0;
  flush(conn);
}

static void ended(Conn *conn, int whole) {
  calls++;
  if (conn->streams) { streams++; intact += whole && conn->done; }
  if (!whole || conn->status != 200 || (conn->streams && !conn->done)) errors++;
  else add(&latency, now_us() - conn->began);
  if (now_us() >= end_us) { shut(conn); return; }
  if (!whole || conn->closes) { close(conn->fd); dial(conn); }
  begin(conn);
}

static void read_events(Conn *conn, const char *data, size_t length) {
  for (size_t i = 0; i < length; i++) {
    if (data[i] != '\n') {
      if (conn->in_line < LINE - 1) conn->line[conn->in_line++] = data[i];
      continue;
    }
    conn->line[conn->in_line] = 0;
    if (!strncmp(conn->line, "data:", 5)) {
      if (strstr(conn->line, "[DONE]")) conn->done = 1;
      else {
        long long now = now_us();
        all_events++;
        if (conn->last) add(&gaps, now - conn->last);
        else add(&to_first, now - conn->began);
        conn->last = now;
      }
    }
    conn->in_line = 0;
  }
}

static int read_head(Conn *conn) {
  char *end = strstr(conn->head, "\r\n\r\n");
  if (!end) return 0;
  conn->status = atoi(conn->head + 9);
  conn->streams = strcasestr(conn->head, "text/event-stream") != NULL;
  conn->closes = strcasestr(conn->head, "connection: close") != NULL;
  char *said = strcasestr(conn->head, "content-length:");
  conn->state = said ? LENGTH : CHUNK_SIZE;
  conn->left = said ? strtoull(said + 15, NULL, 10) : 0;
  conn->sized = 0;
  return end + 4 - conn->head;
}

/* Whether the connection goes on with this call. */
static int take(Conn *conn, const char *data, size_t length) {
  for (size_t i = 0; i < length;) {
    switch (conn->state) {
      case HEAD: {
        size_t before = conn->held, part = length - i;
        if (part > sizeof conn->head - 1 - before) part = sizeof conn->head - 1 - before;
        memcpy(conn->head + before, data + i, part);
        conn->head[conn->held = before + part] = 0;
        int head = read_head(conn);
        if (!head) { i += part; if (!part) { ended(conn, 0); return 0; } break; }
        i += head - before;
        if (conn->state == LENGTH && !conn->left) { ended(conn, 1); return 0; }
        break;
      }
      case LENGTH: {
        size_t part = length - i < conn->left ? length - i : conn->left;
        i += part;
        if (!(conn->left -= part)) { ended(conn, 1); return 0; }
        break;
      }
      case CHUNK_SIZE: {
        char c = data[i++];
        if (c == '\n') {
          if (conn->left) conn->state = CHUNK;
          else { conn->state = CHUNK_END; conn->sized = 1; }
        } else if (c != '\r') {
          int digit = c >= 'a' ? c - 'a' + 10 : c >= 'A' ? c - 'A' + 10 : c - '0';
          conn->left = conn->left * 16 + digit;
        }
        break;
      }
      case CHUNK: {
        size_t part = length - i < conn->left ? length - i : conn->left;
        if (conn->streams) read_events(conn, data + i, part);
        i += part;
        if (!(conn->left -= part)) { conn->state = CHUNK_END; conn->sized = 0; }
        break;
      }
      case CHUNK_END:
        if (data[i++] == '\n') {
          if (conn->sized) { ended(conn, 1); return 0; }
          conn->state = CHUNK_SIZE;
          conn->left = 0;
        }
        break;
    }
  }
  return 1;
}

/* The requests of the file; whether it holds nothing else. */
static int read_requests(FILE *file) {
  fseek(file, 0, SEEK_END);
  size_t length = ftell(file);
  rewind(file);
  char *data = malloc(length + 1);
  if (fread(data, 1, length, file) != length) return 0;
  data[length] = 0;
  for (char *at = data; at < data + length;) {
    char *end = strstr(at, "\r\n\r\n");
    if (!end) return 0;
    char *said = strcasestr(at, "content-length:");
    size_t whole = end + 4 - at + (said && said < end ? strtoull(said + 15, NULL, 10) : 0);
    if (whole > (size_t)(data + length - at)) return 0;
    requests = realloc(requests, (many + 1) * sizeof *requests);
    requests[many++] = (struct request){at, whole};
    at += whole;
  }
  return many > 0;
}

int main(int argc, char **argv) {
  if (argc != 6) {
    fputs("load PORT CONNECTIONS SECONDS REQUEST_FILE RAMP_SECONDS\n", stderr);
    return 2;
  }
  port = atoi(argv[1]);
  int wanted = atoi(argv[2]);
  FILE *file = fopen(argv[4], "rb");
  if (!file) { perror(argv[4]); return 1; }
  if (!read_requests(file)) { fputs("not a file of whole requests\n", stderr); return 1; }
  poll_fd = epoll_create1(0);
  Conn *conns = calloc(wanted, sizeof *conns);
  long long start = now_us();
  double ramp_us = atof(argv[5]) * 1e6;
  int begun = 0;
  end_us = start + (long long)(ramp_us + atof(argv[3]) * 1e6);
  static char data[1 << 18];
  struct epoll_event found[256];
  while ((live || begun < wanted) && now_us() < end_us + 60000000) {
    for (; begun < wanted && now_us() - start >= ramp_us * begun / wanted; begun++, live++) {
      dial(&conns[begun]);
      begin(&conns[begun]);
    }
    int ready = epoll_wait(poll_fd, found, 256, begun < wanted ? 1 : 1000);
    for (int i = 0; i < ready; i++) {
      Conn *conn = found[i].data.ptr;
      if (found[i].events & EPOLLOUT) flush(conn);
      if (!(found[i].events & ~EPOLLOUT)) continue;
      ssize_t got = read(conn->fd, data, sizeof data);
      if (got > 0) take(conn, data, got);
      else if (got == 0 || errno != EAGAIN) ended(conn, 0);
    }
  }
  double took = (now_us() - start) / 1e6;
  printf("{\"calls\":%lld,\"errors\":%lld,\"unfinished\":%d,\"seconds\":%.3f,\"streams\":%lld,"
         "\"intact\":%lld,\"events\":%lld", calls, errors, live, took, streams, intact, all_events);
  tell("latency", &latency);
  tell("first_event", &to_first);
  tell("gap", &gaps);
  puts("}");
  return 0;
}
