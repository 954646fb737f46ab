/**
 * Another machine, for capture-tproxy.test.ts: a network namespace with a cable to the test's own, and what runs in
 * there. As a program (`node outside.ts JOB`, in that namespace) it serves or calls, and prints JSON.
 */
import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import type { Identity } from '../../../../model/identity.ts'
import { run, start, until, type Finally } from '../../programs.ts'
import { meshCall } from './inbound.ts'
import { request, type Answer } from './mesh-agent.ts'
import { shell } from './network-namespace.ts'

export const HERE_IP = '192.168.77.1'
export const THERE_IP = '192.168.77.2'

type Job =
  | { readonly serve: string; readonly http: number; readonly tcp: number }
  | { readonly call: number; readonly identity?: Identity | undefined; readonly host?: string }

export class Outside {
  /** What a command begins with that runs over there. */
  readonly enter: readonly string[]
  readonly #t: Finally
  private constructor(t: Finally, enter: readonly string[]) {
    this.#t = t
    this.enter = enter
  }

  /** @param addresses further addresses over there; everything that is not here is routed there */
  static async connect(t: Finally, addresses: readonly string[]): Promise<Outside> {
    const { child } = start(t, 'unshare', ['--net', 'sleep', 'infinity'])
    const enter = ['nsenter', `--net=/proc/${child.pid}/ns/net`]
    const inside = enter.join(' ')
    await until('the namespace is there', () => {
      try {
        shell(`test "$(readlink /proc/${child.pid}/ns/net)" != "$(readlink /proc/self/ns/net)"`)
        return true
      } catch {
        return false
      }
    })
    shell(
      `ip link add cable type veth peer name cable netns ${child.pid}`,
      `ip addr add ${HERE_IP}/24 dev cable`,
      'ip link set cable up',
      `${inside} ip link set lo up`,
      `${inside} ip link set cable up`,
      `${inside} ip addr add ${THERE_IP}/24 dev cable`,
      ...addresses.map((a) => `${inside} ip addr add ${a}/32 dev lo`),
      `ip route replace default via ${THERE_IP}`,
    )
    // The kernel clears up a namespace some time after its last process.
    t.after(() => {
      shell('ip link del cable 2>/dev/null || true')
    })
    return new Outside(t, enter)
  }

  /** An HTTP and a TCP server that say who called them. */
  async serve(address: string, ports: { readonly http: number; readonly tcp: number }): Promise<void> {
    const [command, ...args] = this.#command({ serve: address, ...ports })
    const server = start(this.#t, command!, args)
    await server.until('the servers are there', () => server.log.includes('ready'))
  }

  /** From there to a port of HERE_IP: in plain text, or as the mesh does with `identity`. */
  async call(port: number, identity?: Identity): Promise<Answer> {
    const [command, ...args] = this.#command({ call: port, identity })
    const { out, err } = await run(command!, args)
    try {
      return JSON.parse(out) as Answer
    } catch {
      throw new Error(out + err)
    }
  }

  #command(job: Job): string[] {
    return [...this.enter, process.execPath, import.meta.filename, JSON.stringify(job)]
  }
}

async function work(job: Job): Promise<void> {
  if ('call' in job) {
    const answer = await (job.identity
      ? meshCall(job.identity, job.call, '/', { host: HERE_IP })
      : request({ host: HERE_IP, port: job.call, path: '/' }))
    process.stdout.write(JSON.stringify(answer))
    return
  }
  const web = http
    .createServer((req, res) => {
      res.end(`outside, to ${req.socket.remoteAddress}`)
    })
    .listen(job.http, job.serve)
  const raw = net
    .createServer((socket) => {
      socket
        .on('error', () => {
          /* its end */
        })
        .end(`outside, to ${socket.remoteAddress}`)
    })
    .listen(job.tcp, job.serve)
  await Promise.all([once(web, 'listening'), once(raw, 'listening')])
  process.stdout.write('ready')
}
if (process.argv[1] === import.meta.filename) await work(JSON.parse(process.argv[2]!) as Job)
