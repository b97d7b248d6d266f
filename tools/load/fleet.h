/* fleet: the daemon and the simulator that a run starts for itself, and what a process uses (/proc).  Blocking; before and after a run only,
   but for load_usage_read. */
#ifndef KMY_TOOLS_LOAD_FLEET_H
#define KMY_TOOLS_LOAD_FLEET_H

#include "tools/load/load.h"

typedef struct load_fleet {
    char dir[256]; /* temporary folder; "": none */
    int daemon_pid, sim_pid;
    bool keep;      /* leave the folder for a look */
    char cert[300]; /* of the daemon, with l->s.tls */
} load_fleet_t;

/* Starts kamiyo-sim and kamiyod (from the folder of our own program) for the scenario, on free ports; fills l's addresses, admin token and server_pid.
   pin: the daemon on core 0, the simulator and this process on core 1, where there are two.  On failure everything is stopped again. */
kmy_err_t load_fleet_start(load_fleet_t *fleet, load_t *l, bool pin, kmy_errctx_t *ctx);
/* SIGTERM, wait, remove the folder.  *ok: the daemon ended with 0. */
void load_fleet_stop(load_fleet_t *fleet, bool *ok);
/* This process to core 1, if there is one. */
void load_pin_self(void);
/* The process of ours that listens at this address (/proc/net/tcp and the descriptors in /proc); 0: none that we may look at. */
int load_pid_of(const struct sockaddr_in *at);

/* CPU time of all threads (schedstat, exact to the ns; else utime + stime) and resident memory; zeros if the process is not to be read. */
load_usage_t load_usage_read(int pid);

#endif
