/**
 * A way to a port on which every byte takes its time.
 * argv: JSON with port, to, delayMs (in each direction)
 */
import net from 'node:net'

const { port, to, delayMs } = JSON.parse(process.argv[2]!) as { port: number; to: number; delayMs: number }

function pass(from: net.Socket, into: net.Socket): void {
  from.on('data', (bytes: Buffer) => {
    setTimeout(() => {
      if (!into.destroyed) into.write(bytes)
    }, delayMs)
  })
  from.on('close', () => {
    setTimeout(() => into.destroy(), delayMs)
  })
  from.on('error', () => {})
}
net
  .createServer({ noDelay: true }, (near) => {
    const far = net.connect({ port: to, host: '127.0.0.1', noDelay: true })
    pass(near, far)
    pass(far, near)
  })
  .listen(port, '127.0.0.1')
