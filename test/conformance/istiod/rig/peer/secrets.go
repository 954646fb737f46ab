// Kubernetes Secrets of the in-memory API, from files *.secret.json of the watched directory, and who may read them.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kubefake "k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"istio.io/istio/pkg/kube"
)

// The role of Istio's gateway chart, and of a workload whose DestinationRule names a Secret.
var readers = map[string]bool{"gateway": true, "curl": true}

// mayRead lets service accounts of these names list the secrets of their namespace.
func mayRead(client kube.Client) {
	client.Kube().(*kubefake.Clientset).PrependReactor("create", "subjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		review := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview).DeepCopy()
		asked := review.Spec.ResourceAttributes
		_, account, _ := strings.Cut(review.Spec.User, fmt.Sprintf("system:serviceaccount:%s:", namespaceOf(asked)))
		review.Status.Allowed = readers[account]
		return true, review, nil
	})
}

func namespaceOf(asked *authorizationv1.ResourceAttributes) string {
	if asked == nil {
		return ""
	}
	return asked.Namespace
}

// syncSecrets makes the API equal to the directory; held is what it wrote before, by file.
func syncSecrets(dir string, client kube.Client, held map[string]string) {
	files, _ := filepath.Glob(filepath.Join(dir, "*.secret.json"))
	there := map[string]bool{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		there[f] = true
		if held[f] == string(text) {
			continue
		}
		secret := &corev1.Secret{}
		if err := json.Unmarshal(text, secret); err != nil {
			fmt.Fprintln(os.Stderr, f+":", err)
			continue
		}
		api := client.Kube().CoreV1().Secrets(secret.Namespace)
		_, err = api.Update(context.Background(), secret, metav1.UpdateOptions{})
		if errors.IsNotFound(err) {
			_, err = api.Create(context.Background(), secret, metav1.CreateOptions{})
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "secret:", f, err)
			continue
		}
		held[f] = string(text)
	}
	for f, text := range held {
		if there[f] {
			continue
		}
		secret := &corev1.Secret{}
		_ = json.Unmarshal([]byte(text), secret)
		if err := client.Kube().CoreV1().Secrets(secret.Namespace).Delete(context.Background(), secret.Name, metav1.DeleteOptions{}); err == nil {
			delete(held, f)
		}
	}
}
