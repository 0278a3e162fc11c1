/**
 * A native job starts when it is created and reports errors through its promise: a statement that drops the job neither waits for it nor notices its failure.
 * `no-floating-promises` does not detect this, because a job is not itself a promise. `void` marks it as intended.
 */
export const droppedJob = {
  meta: {
    type: 'problem',
    schema: [],
    messages: { dropped: 'A native job is dropped: await runJob(() => ...), or mark it with void.' },
  },
  create(context) {
    return {
      ExpressionStatement({ expression }) {
        if (expression.type !== 'CallExpression') return
        const type = context.sourceCode.parserServices.getTypeAtLocation(expression)
        if (type.symbol?.name === 'NativeJob') context.report({ node: expression, messageId: 'dropped' })
      },
    }
  },
}
