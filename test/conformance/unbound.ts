/** unbound as an upstream resolver with a zone of its own; nothing that it is asked leaves this machine. */
import fs from 'node:fs'
import path from 'node:path'
import { findDebianProgram } from '../../tools/debian.ts'
import { start, temporaryFolder, type Finally, type Running } from './programs.ts'

export type UnboundOptions = {
  readonly address?: string
  readonly port: number
  /** Records of the zone in master-file form. */
  readonly zone: readonly string[]
  /** Local zones and what becomes of names that the records do not have. */
  readonly zones: readonly string[]
}

export async function unbound(
  t: Finally,
  { address = '127.0.0.1', port, zone, zones }: UnboundOptions,
): Promise<Running> {
  const folder = temporaryFolder(t)
  const file = path.join(folder, 'unbound.conf')
  // A record that has quotes itself stands in the other ones.
  const data = zone.map((record) => `  local-data: ${record.includes('"') ? `'${record}'` : `"${record}"`}\n`).join('')
  fs.writeFileSync(
    file,
    `server:
  interface: ${address}
  port: ${port}
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "${folder}"
  pidfile: ""
  use-syslog: no
  module-config: "iterator"
  do-not-query-localhost: yes
  access-control: 127.0.0.0/8 allow
${zones.map((z) => `  local-zone: ${z}\n`).join('')}${data}remote-control:
  control-enable: no
`,
  )
  const running = start(t, findDebianProgram('unbound'), ['-d', '-c', file])
  await running.listening(port, address)
  return running
}
