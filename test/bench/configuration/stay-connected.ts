import net from 'node:net'

/**
 * One connection, from when somebody listens; another when it ends. An agent with nobody connected collects its garbage
 * as a whole, a turn that delays nobody.
 */
export function stayConnected(port: number): Disposable {
  let socket: net.Socket
  let timer: NodeJS.Timeout | undefined
  const open = (): void => {
    socket = net
      .connect({ port, host: '127.0.0.1' })
      .on('error', () => {
        /* close follows */
      })
      .on('close', () => {
        timer = setTimeout(open, 20)
      })
  }
  open()
  return {
    [Symbol.dispose]: () => {
      clearTimeout(timer)
      socket.removeAllListeners('close').destroy()
    },
  }
}
