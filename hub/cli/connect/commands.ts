/** `meshlet-hub connect`, with its help. */
import { InvalidArgumentError, type Command } from 'commander'
import type { Finish } from '../../../core/cli/run.ts'
import type { Io } from '../io.ts'
import { buildConfigOption as config } from '../options.ts'
import type { ConnectOptions, LocalAddress } from './connect.ts'

const HELP = `
The device's own agent.yaml says which ports: control: {connect: {ports: [8080]}}; without that, none. Each connection
stands in the audit log, and in the log of the device. While it listens, every user of this machine may use the port:
--stdio is for one connection of your own, e.g. ssh -o ProxyCommand='meshlet-hub connect gw-1 22 --stdio' admin@gw-1`

export function addConnect(program: Command, io: Io, done: Finish): void {
  program
    .command('connect')
    .description('reach a port of a device over the relay, through the hub that runs on this machine')
    .argument('<device>', 'name of the device')
    .argument('<port>', 'port of it that its agent.yaml permits', parsePort(1))
    .option('--host <name>', 'another host that the device reaches, where its agent.yaml permits it', '127.0.0.1')
    .option('--listen <address>', 'loopback address and port; 0 picks a free one', parseLocal, FREE)
    .option('--stdio', 'carry standard input and output instead of listening', false)
    .addOption(config())
    .addHelpText('after', HELP)
    .action(async (device: string, port: number, o: ConnectOptions) =>
      done((await import('./connect.ts')).connect({ ...o, device, port }, io)),
    )
}

const FREE: LocalAddress = { host: '127.0.0.1', port: 0 }

function parsePort(least: number): (text: string) => number {
  return (text) => {
    const port = /^\d{1,5}$/.test(text) ? Number(text) : -1
    if (port < least || port > 65_535) throw new InvalidArgumentError(`must be a port from ${least} to 65535`)
    return port
  }
}
function parseLocal(text: string): LocalAddress {
  const [, host, port] = /^(?:(127\.0\.0\.1|\[::1\]):)?(\d{1,5})$/.exec(text) ?? []
  if (port === undefined) throw new InvalidArgumentError('must be 127.0.0.1:PORT or [::1]:PORT')
  return { host: host === '[::1]' ? '::1' : '127.0.0.1', port: parsePort(0)(port) }
}
