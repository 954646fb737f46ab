import net from 'node:net'

export type ResolvConf = { readonly servers: readonly string[]; readonly search: readonly string[] }

/** glibc's MAXNS, and a bound for what grows with every query. */
const MAX_SERVERS = 3,
  MAX_SEARCH = 8
/** More is another file. */
const MAX_CHARS = 64 * 1024
const DOMAIN = /^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/

/**
 * resolv.conf(5): `nameserver`, and the last of `search` and `domain`. Lines that are something else are passed over.
 */
export function parseResolvConf(text: string): ResolvConf {
  const servers: string[] = []
  let search: string[] = []
  for (const line of text.slice(0, MAX_CHARS).split('\n')) {
    const [word = '', ...rest] = line.trim().split(/[\t ]+/)
    if (word === 'nameserver' && rest[0] !== undefined && net.isIP(rest[0]) !== 0) servers.push(rest[0])
    else if (word === 'search' || word === 'domain') search = rest.slice(0, word === 'domain' ? 1 : MAX_SEARCH)
  }
  return {
    servers: servers.slice(0, MAX_SERVERS),
    search: search.map((s) => s.toLowerCase().replace(/\.$/, '')).filter((s) => DOMAIN.test(s)),
  }
}
