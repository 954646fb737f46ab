/** hosts(5): the addresses of a name, in the file's order; [] when it is not there. */
export function findAddresses(name: string, hosts: string): readonly string[] {
  const addresses: string[] = []
  for (const line of hosts.split('\n')) {
    const [address, ...names] = line.replace(/#.*/, '').trim().split(/\s+/)
    if (address !== undefined && names.some((n) => n.toLowerCase() === name.toLowerCase())) addresses.push(address)
  }
  return addresses
}
