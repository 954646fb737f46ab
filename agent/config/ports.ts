/** What can be said of the ports of agent.yaml without opening one. */
import os from 'node:os'
import type { OwnPort } from '../../protocols/downstream/data-path.ts'
import { overlap } from '../../protocols/downstream/ports.ts'
import type { Disk } from '../../core/os/disk.ts'
import { toListenAddress } from './schema/listeners.ts'
import type { AgentConfig } from './schema.ts'

type Port = { readonly setting: string; readonly address: string; readonly port: number }

const portsOf = ({ listeners, admin, dns, telemetry }: AgentConfig): Port[] => [
  ...listeners.map((l) => ({ setting: `listeners.${l.name}`, ...toListenAddress(l) })),
  { setting: 'admin', ...admin },
  ...telemetry.ports.map((port, i) => ({ setting: `telemetry.ports[${i}]`, address: telemetry.address, port })),
  ...(dns ? [{ setting: 'dns', address: dns.address, port: dns.port }] : []),
]

/** Ports besides those of listeners. A pushed listener does not get one of them. */
export function listOtherPorts({ admin, dns, telemetry }: AgentConfig): OwnPort[] {
  return [
    { ...admin, name: 'the admin port' },
    ...telemetry.ports.map((port) => ({ address: telemetry.address, port, name: 'a port of telemetry.ports' })),
    ...(dns ? [{ address: dns.address, port: dns.port, name: 'the DNS proxy' }] : []),
  ]
}

/** Two that cannot be open at the same time. */
export function findPortMistakes(config: AgentConfig): string[] {
  const ports = portsOf(config)
  return ports.flatMap((one, i) =>
    ports
      .slice(i + 1)
      .filter((other) => overlap(one, other))
      .map((other) => `${other.setting}: the port ${other.address}:${other.port} is that of ${one.setting}`),
  )
}

/** What may be right on the device, or later. */
export function findPortNotes(config: AgentConfig, disk: Disk): string[] {
  const here = new Set(
    Object.values(os.networkInterfaces())
      .flatMap((a) => a ?? [])
      .map((a) => a.address),
  )
  const isHere = (address: string): boolean =>
    address.startsWith('/') ||
    address === '0.0.0.0' ||
    address === '::' ||
    address.startsWith('127.') ||
    here.has(address)
  const free = unprivilegedFrom(disk)
  return portsOf(config).flatMap(({ setting, address, port }) => [
    ...(isHere(address)
      ? []
      : [`${setting}: this machine does not have the address ${address}; the port is opened once it has`]),
    ...(port === 0 || port >= free
      ? []
      : [
          `${setting}: ports below ${free} may only be opened by root or a socket unit (docs/configuration.md), which the service has to be given`,
        ]),
  ])
}

/** ip(7): net.ipv4.ip_unprivileged_port_start. */
function unprivilegedFrom(disk: Disk): number {
  try {
    return Number(disk.read('/proc/sys/net/ipv4/ip_unprivileged_port_start')?.toString() ?? 1024)
  } catch {
    return 1024
  }
}
