/**
 * grpc-js 1.14 keeps the pieces of a message until the next one begins, which on a quiet stream is never: a megabyte of
 * what a stream that came back brought stays with an idle agent, and grows so old that only a full collection takes it.
 * In the bundle it lets go of them.
 */
import type { Plugin } from 'esbuild'
import fs from 'node:fs'

const MESSAGE_IS_WHOLE = 'const framedMessage = Buffer.concat(framedMessageBuffers, this.readMessageSize + 5);'

export const grpcPieces: Plugin = {
  name: 'grpc-pieces',
  setup(b) {
    b.onLoad({ filter: /\/@grpc\/grpc-js\/build\/src\/stream-decoder\.js$/ }, ({ path: file }) => {
      const parts = fs.readFileSync(file, 'utf8').split(MESSAGE_IS_WHOLE)
      if (parts.length !== 2)
        throw new Error(
          `${file} is not what it was: see whether grpc-js still keeps readPartialMessage, and drop or mend tools/build/grpc-pieces.ts`,
        )
      return { contents: parts.join(`${MESSAGE_IS_WHOLE} this.readPartialMessage = [];`), loader: 'js' }
    })
  },
}
