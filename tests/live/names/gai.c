/* getaddrinfo() of the C library that this is compiled with: for each argument its addresses, or the error. */
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
        int error = getaddrinfo(argv[i], "80", &hints, &list);
        printf("%s:", argv[i]);
        if (error) printf(" %s", gai_strerror(error));
        for (struct addrinfo *it = list; it; it = it->ai_next) {
            char host[64];
            if (!getnameinfo(it->ai_addr, it->ai_addrlen, host, sizeof host, NULL, 0, NI_NUMERICHOST)) printf(" %s", host);
        }
        putchar('\n');
        if (list) freeaddrinfo(list);
    }
    return 0;
}
