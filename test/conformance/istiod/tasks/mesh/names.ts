/** The resolver of the near machine: names outside of the mesh. */
import dgram from 'node:dgram'
import { once } from 'node:events'
import dnsPacket from 'dns-packet'
import type { Finally } from '../../../programs.ts'

/** Of the machine's /etc/resolv.conf. */
const PORT = 53
/** The same names, whatever the other one says: what `dns.upstreams` of the agent names. */
export const UPSTREAM_PORT = 5353
const MESHLET_PORT = 15_053
/** Names that the machine's resolver asks meshlet's DNS for, as where that is in /etc/resolv.conf. */
export const LOOPED = '.looped.test'

export async function serveNames(t: Finally, names: Readonly<Record<string, string>>): Promise<void> {
  await Promise.all([serve(t, PORT, names, LOOPED), serve(t, UPSTREAM_PORT, names)])
}

/** @param looped names that end so are asked for at meshlet */
async function serve(
  t: Finally,
  port: number,
  names: Readonly<Record<string, string>>,
  looped?: string,
): Promise<void> {
  const server = dgram.createSocket('udp4')
  server.on('message', (bytes, from) => {
    const query = dnsPacket.decode(bytes)
    const question = query.questions?.[0]
    if (!question) return
    const name = question.name.toLowerCase()
    if (looped !== undefined && name.endsWith(looped)) {
      const client = dgram.createSocket('udp4')
      client.on('message', (answer) => {
        server.send(answer, from.port, from.address)
        client.close()
      })
      client.send(bytes, MESHLET_PORT, '127.0.0.1')
      return
    }
    const address = names[name]
    const answer = dnsPacket.encode({
      type: 'response',
      id: query.id ?? 0,
      flags: dnsPacket.RECURSION_DESIRED | dnsPacket.RECURSION_AVAILABLE | (address === undefined ? 3 : 0),
      questions: [question],
      answers:
        address !== undefined && question.type === 'A'
          ? [{ type: 'A', name: question.name, ttl: 5, data: address }]
          : [],
    })
    server.send(answer, from.port, from.address)
  })
  server.bind(port, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
  })
}
