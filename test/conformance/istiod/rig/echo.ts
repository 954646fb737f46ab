/**
 * Istio's own echo, the program that Istio tests itself with: a server of HTTP, gRPC and TCP, plain or with
 * certificates, and its client.
 */
import path from 'node:path'
import { freePorts } from '../../../../tools/free-ports.ts'
import { run, start, type Finally, type Running } from '../../programs.ts'
import { istioBinaries } from './binaries.ts'

type EchoPorts = { readonly http: number; readonly grpc: number; readonly tcp: number }

export class EchoServer {
  readonly process: Running
  readonly http: number
  readonly grpc: number
  readonly tcp: number
  private constructor(process: Running, { http, grpc, tcp }: EchoPorts) {
    this.process = process
    this.http = http
    this.grpc = grpc
    this.tcp = tcp
  }

  /**
   * On 127.0.0.1.
   * @param certificates folder in Istio's file names; HTTP then asks for a client certificate of the same root
   */
  static async start(t: Finally, certificates?: string): Promise<EchoServer> {
    const [http, grpc, tcp, ...spare] = (await freePorts(6)) as [number, number, number, number, number, number]
    if (certificates === undefined)
      return new EchoServer(await ready(launch(t, { http, grpc, tcp }, [])), { http, grpc, tcp })
    const file = (name: string): string => path.join(certificates, name)
    const files = ['--crt', file('cert-chain.pem'), '--key', file('key.pem'), '--ca', file('root-cert.pem')]
    // It asks its own gRPC port in plain text whether it is ready, so that one with TLS never is, and HTTP says 503
    // until all are: two processes.
    await launch(t, { http: spare[0], grpc, tcp: spare[1] }, ['--tls', String(grpc), ...files]).listening(grpc)
    const process = await ready(
      launch(t, { http, grpc: spare[2], tcp }, ['--tls', `${http},${tcp}`, '--mtls', String(http), ...files]),
    )
    return new EchoServer(process, { http, grpc, tcp })
  }
}

function launch(t: Finally, { http, grpc, tcp }: EchoPorts, args: readonly string[]): Running {
  return start(
    t,
    istioBinaries().echoServer,
    [
      '--port',
      String(http),
      '--grpc',
      String(grpc),
      '--tcp',
      String(tcp),
      '--bind-ip',
      `${http},${grpc},${tcp}`,
      ...args,
    ],
    { env: { INSTANCE_IP: '127.0.0.1' } },
  )
}
async function ready(process: Running): Promise<Running> {
  await process.until('echo is ready', () => (process.log.match(/ready for /g)?.length ?? 0) >= 3)
  return process
}

/**
 * What the server saw of one request (`Proto`, `Alpn`, `Sni`, `ClientCertSerialNumber`, …), each name with all its
 * values; or why it failed.
 */
export type Echoed =
  | { readonly ok: true; readonly fields: ReadonlyMap<string, readonly string[]>; readonly text: string }
  | { readonly ok: false; readonly text: string }

/** @param url http://, grpc://, tcp:// and the same with TLS (https://, grpcs://, tls://) */
export async function echo(url: string, args: readonly string[] = []): Promise<Echoed> {
  const { code, out, err } = await run(istioBinaries().echoClient, [...args, '--timeout', '5s', url])
  if (code !== 0) return { ok: false, text: out + err }
  const fields = new Map<string, string[]>()
  for (const [, name, value] of out.matchAll(/^\[0(?: body)?\] ([^=\n]+)=(.*)$/gm))
    fields.set(name!, [...(fields.get(name!) ?? []), value!])
  return { ok: true, fields, text: out }
}

/**
 * Arguments that make the client show the certificate in the folder, as a sidecar would. It cannot check a SPIFFE name,
 * so it checks nothing.
 */
export const asMesh = (certificates: string, alpn: readonly string[], serverName: string): string[] => [
  '--client-cert',
  path.join(certificates, 'cert-chain.pem'),
  '--client-key',
  path.join(certificates, 'key.pem'),
  '--insecure-skip-verify',
  '--alpn',
  alpn.join(','),
  '--server-name',
  serverName,
]
