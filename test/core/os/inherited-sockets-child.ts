/**
 * A process that was passed sockets (inherited-sockets.test.ts): does what standard input asks, one line of JSON each,
 * and answers with one.
 */
import readline from 'node:readline'
import { InheritedSockets } from '../../../core/os/inherited-sockets.ts'
import { takeListenFds } from '../../../core/os/listen-fds.ts'
import { systemNetwork, type Address, type Listening } from '../../../core/os/network.ts'
import { runSystemCommand } from '../../../core/os/command.ts'

export type Ask =
  | { readonly listen: Address }
  | { readonly close: number }
  | { readonly has: Address }
  | 'unused'
  | 'child'

const sockets = new InheritedSockets(takeListenFds(process.env, process.pid))
const network = sockets.over(systemNetwork)
const open: Listening[] = []

async function answer(ask: Ask): Promise<unknown> {
  if (ask === 'unused') return sockets.unused()
  if (ask === 'child')
    return (await runSystemCommand(['ls', '-l', '/proc/self/fd'], AbortSignal.timeout(5_000))).output
      .split('\n')
      .filter((l) => / [345] -> socket:/.test(l)).length
  if ('has' in ask) return sockets.has(ask.has)
  if ('close' in ask) {
    await open[ask.close]![Symbol.asyncDispose]()
    return true
  }
  try {
    const opened = await network.listen(ask.listen, ({ stream, local }) => {
      stream.end(`${process.pid} ${local.host}`)
    })
    open.push(opened)
    return { port: opened.port, inherited: opened.inherited ?? false }
  } catch (err) {
    return (err as NodeJS.ErrnoException).code
  }
}
readline.createInterface(process.stdin).on('line', (line) => {
  void answer(JSON.parse(line) as Ask).then((said) => {
    process.stdout.write(`${JSON.stringify(said)}\n`)
  })
})
