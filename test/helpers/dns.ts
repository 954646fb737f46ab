/** A client and an upstream resolver for the DNS proxy's tests; dns-packet reads what the proxy writes. */
import { decode, encode, type Answer, type DecodedPacket, type Packet, type RecordType } from 'dns-packet'
import type { Address, Datagrams, Listening, Network, NetStream } from '../../core/os/network.ts'

export type Decoded = DecodedPacket & { readonly rcode: string }
export const decoded = (bytes: Buffer): Decoded => decode(bytes) as Decoded

/** A query as a resolver library makes it; `udpBytes` adds an OPT record. */
export function query(
  name: string,
  type: string = 'A',
  o: { id?: number; udpBytes?: number; dnssecOk?: boolean; flags?: number } = {},
): Buffer {
  return encode({
    type: 'query',
    id: o.id ?? 4711,
    flags: o.flags ?? 0x100,
    questions: [{ name, type: type as RecordType }],
    additionals:
      o.udpBytes === undefined
        ? []
        : [
            {
              type: 'OPT',
              name: '.',
              udpPayloadSize: o.udpBytes,
              extendedRcode: 0,
              ednsVersion: 0,
              flags: o.dnssecOk ? 0x8000 : 0,
              flag_do: o.dnssecOk ?? false,
              options: [],
            },
          ],
  })
}
/** "NOERROR aa tc, name TTL TYPE DATA, …": what matters of an answer, in one line. */
export function told(bytes: Buffer): string {
  const p = decoded(bytes)
  const flags = [p.flag_aa && 'aa', p.flag_tc && 'tc'].filter(Boolean)
  return [
    [p.rcode, ...flags].join(' '),
    ...(p.answers ?? []).map((a) => ('data' in a ? `${a.name} ${a.ttl} ${a.type} ${data(a)}` : a.type)),
  ].join(', ')
}
/** An address or name as it is, bytes as text. */
export function data(answer: Answer): string {
  if (!('data' in answer)) return ''
  return typeof answer.data === 'string'
    ? answer.data
    : Array.isArray(answer.data)
      ? answer.data.map(String).join(' ')
      : JSON.stringify(answer.data)
}

export const a = (name: string, data: string, ttl = 60): Answer => ({ type: 'A', name, ttl, class: 'IN', data })
export const soa = (name: string, minimum: number, ttl = 3_600): Answer => ({
  type: 'SOA',
  name,
  ttl,
  class: 'IN',
  data: { mname: `ns.${name}`, rname: `admin.${name}`, serial: 1, refresh: 1, retry: 1, expire: 1, minimum },
})

/** What the upstream says to a question; undefined = nothing. */
export type Script = (
  name: string,
  asked: { type: string; over: 'udp' | 'tcp'; packet: DecodedPacket; from: Address },
) => (Packet & { readonly rcode?: number; readonly raw?: (bytes: Buffer) => Buffer }) | undefined

/** A resolver at an address of any network, that says what the test says and counts what it is asked. */
export class Upstream implements AsyncDisposable {
  readonly asked: string[] = []
  readonly ids: number[] = []
  readonly ports: number[] = []
  readonly address: Address
  script: Script
  readonly #udp: Datagrams
  readonly #tcp: Listening

  private constructor(address: Address, script: Script, udp: Datagrams, tcp: Listening) {
    this.address = address
    this.script = script
    this.#udp = udp
    this.#tcp = tcp
  }
  static async start(network: Network, at: Address, script: Script): Promise<Upstream> {
    const udp = await network.bindUdp(at, {
      onDatagram: (bytes, from) => {
        const out = upstream.#answer(bytes, from, 'udp')
        if (out) udp.send(out, from)
      },
      onError: () => {},
    })
    const tcp = await network.listen({ host: at.host, port: udp.port }, (accepted) => upstream.#accept(accepted))
    const upstream: Upstream = new Upstream({ host: at.host, port: udp.port }, script, udp, tcp)
    return upstream
  }
  #accept({ stream, remote }: NetStream): void {
    let got = Buffer.alloc(0)
    stream.on('error', () => {})
    stream.on('data', (chunk: Buffer) => {
      got = Buffer.concat([got, chunk])
      for (; got.length >= 2 && got.length >= 2 + got.readUInt16BE(); got = got.subarray(2 + got.readUInt16BE())) {
        const out = this.#answer(got.subarray(2, 2 + got.readUInt16BE()), remote, 'tcp')
        if (out) stream.write(Buffer.concat([Buffer.of(out.length >> 8, out.length & 255), out]))
      }
    })
    stream.on('end', () => {
      stream.end()
    })
  }
  #answer(bytes: Buffer, from: Address, over: 'udp' | 'tcp'): Buffer | undefined {
    const packet = decode(bytes)
    const [q] = packet.questions ?? []
    this.asked.push(`${q!.name} ${q!.type} ${over}`)
    this.ids.push(packet.id!)
    this.ports.push(from.port)
    const said = this.script(q!.name, { type: q!.type, over, packet, from })
    if (!said) return undefined
    const { rcode, raw, ...rest } = said
    const out = encode({
      type: 'response',
      id: packet.id ?? 0,
      questions: packet.questions ?? [],
      ...rest,
      flags: (rest.flags ?? 0x180) | (rcode ?? 0),
    })
    return raw ? raw(out) : out
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#udp[Symbol.asyncDispose]()
    await this.#tcp[Symbol.asyncDispose]()
  }
}
