// Go and go-libvirt: the fake is a child process; its standard input closes with ours.
package lab

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"os/exec"
	"testing"

	"github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"
)

type fake struct {
	URI     string `json:"uri"`
	Control string `json:"control"`
}

func start(t *testing.T, options ...string) fake {
	command := exec.Command("remotevirt-fake", append([]string{"--clock", "manual"}, options...)...)
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); command.Wait() })
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var said fake
	if err := json.Unmarshal(line, &said); err != nil {
		t.Fatal(err)
	}
	return said
}

// ask does something to a world of the fake.
func (f fake) ask(t *testing.T, world, verb string, arguments map[string]any) {
	body, _ := json.Marshal(arguments)
	answer, err := http.Post(f.Control+"/worlds/"+world+"/"+verb, "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", verb, answer.Status)
	}
}

// connect opens a world; each test may have one of its own.
func (f fake) connect(t *testing.T, world string) *libvirt.Libvirt {
	uri, err := url.Parse(f.URI)
	if err != nil {
		t.Fatal(err)
	}
	client := libvirt.NewWithDialer(dialers.NewLocal(dialers.WithSocket(uri.Query().Get("socket"))))
	if err := client.ConnectToURI(libvirt.ConnectURI("test:///" + world)); err != nil {
		t.Fatal(err)
	}
	return client
}

func TestStartsAfterReconnect(t *testing.T) {
	lab := start(t)
	lab.ask(t, "mine", "fault", map[string]any{
		"procedure": "virDomainDestroy*", "drop": "before", "count": 1})

	client := lab.connect(t, "mine")
	domain, err := client.DomainLookupByName("test")
	if err != nil {
		t.Fatal(err)
	}
	if err := client.DomainDestroy(domain); err == nil {
		t.Fatal("the connection did not break")
	}
	if err := lab.connect(t, "mine").DomainDestroy(domain); err != nil {
		t.Fatal(err)
	}
}
