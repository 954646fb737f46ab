/** Addresses of this machine that others can reach, as far as the machine itself knows. */
import os from 'node:os'

/** In the system's order, those of version 4 first; none while no link is up, or before DHCP has answered. */
export function listSystemAddresses(): string[] {
  const all = Object.values(os.networkInterfaces())
    .flatMap((a) => a ?? [])
    .filter((a) => !a.internal && !isLinkLocal(a.address))
  return [...all.filter((a) => a.family === 'IPv4'), ...all.filter((a) => a.family !== 'IPv4')].map((a) => a.address)
}

/** RFC 3927 (what a machine gives itself when DHCP does not answer) and RFC 4291 §2.5.6. */
function isLinkLocal(address: string): boolean {
  return address.startsWith('169.254.') || address.startsWith('fe80:')
}
