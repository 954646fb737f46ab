/** A service of the mesh is asked about a connection, as long as that is there. */
import { guard } from '../../core/defects/guard.ts'
import { MeshError } from '../../core/errors.ts'
import { toSignal } from '../../core/runtime/notice.ts'
import type { AuthService } from '../../model/http/ext-authz.ts'
import type { Connection } from '../connection.ts'
import type { Context } from '../context.ts'
import type { HttpUpstreams } from './message.ts'
import { ServiceQuestion, type FramedQuestion, type ServiceAnswer } from './service-question.ts'

type Asked = { readonly service: AuthService; readonly question: FramedQuestion }

/** Never rejects. @returns an error where nobody waits for the answer any more */
export function askForConnection(
  { stream, aborted, remote }: Connection,
  asked: Asked,
  way: { readonly ctx: Context; readonly upstreams: HttpUpstreams },
): Promise<ServiceAnswer | MeshError> {
  return new Promise((resolve) => {
    const asking = new ServiceQuestion(way, { source: remote.host, ...asked }, (said) => settle(said))
    const left = guard('network', ignore, () => {
      settle(new MeshError('MESH_CLIENT_GONE', 'the client left while a service was asked about it'))
    })
    // Who is asked about while the agent drains still has the time that open connections have.
    const ended = toSignal(aborted)
    const settle = (with_: ServiceAnswer | MeshError): void => {
      stream.off('close', left)
      ended.removeEventListener('abort', left)
      asking.cancel()
      resolve(with_)
    }
    stream.once('close', left)
    ended.addEventListener('abort', left, { once: true })
    if (stream.destroyed || ended.aborted) left()
    else asking.start()
  })
}
function ignore(): void {
  /* there is nobody to tell */
}
