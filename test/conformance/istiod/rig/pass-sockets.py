"""In systemd's place (which the tests never start): opens transparent sockets as meshlet-capture.socket says, keeps them open, and runs the
command with them as meshlet.service would, under a user of its own, again whenever it ends. Ends with SIGTERM.

pass-sockets.py UID PORT[,PORT…] COMMAND…
"""
import os
import signal
import socket
import sys
import time

IPV6_TRANSPARENT = 75
RESTART_SEC = 0.5

uid, ports, command = sys.argv[1], sys.argv[2].split(","), sys.argv[3:]
child = 0
ending = False


def opened(port):
    one = socket.socket(socket.AF_INET6)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
    one.bind(("::", int(port)))
    one.listen(1024)
    return one


def end(*_):
    global ending
    ending = True
    if child:
        os.kill(child, signal.SIGTERM)


# Far from 3, so that none is overwritten before it has been copied.
sockets = [os.dup2(opened(port).detach(), 100 + i) for i, port in enumerate(ports)]
signal.signal(signal.SIGTERM, end)
while not ending:
    child = os.fork()
    if child == 0:
        for i, fd in enumerate(sockets):
            os.dup2(fd, 3 + i, inheritable=True)
        os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(sockets)), LISTEN_FDNAMES=":".join(["capture"] * len(sockets)))
        # Node may be installed where only root reads.
        privileges = ["--reuid", uid, "--clear-groups", "--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--pdeathsig", "KILL"]
        os.execvp("setpriv", ["setpriv", *privileges, *command])
    print("started", child, flush=True)
    os.waitpid(child, 0)
    if not ending:
        time.sleep(RESTART_SEC)
